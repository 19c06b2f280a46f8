from contextlib import ExitStack
from datetime import timedelta

import pytest

from platform_core.domain.errors import Unavailable
from platform_server.kit import admission
from platform_server.kit.admission import Admission


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(admission, "time", clock)
    return clock


def refused(line: Admission) -> bool:
    try:
        line.check()
    except Unavailable:
        return True
    return False


def test_a_line_takes_so_many() -> None:
    line = Admission(most=2, patience=timedelta(seconds=1))
    with line.standing():
        assert not refused(line)
        with line.standing():
            assert refused(line)
        assert not refused(line)


def test_nobody_joins_while_the_head_of_the_line_has_stood_too_long(clock: Clock) -> None:
    line = Admission(most=9, patience=timedelta(seconds=1))
    with ExitStack() as head:
        head.enter_context(line.standing())
        clock.now += 0.9
        with line.standing():
            assert not refused(line)
            clock.now += 0.2
            assert refused(line)
            # The next one came later.
            head.close()
            assert not refused(line)


def test_those_turned_away_do_not_come_back_together() -> None:
    line = Admission(most=0, patience=timedelta(seconds=1))
    waits = set()
    for _ in range(50):
        with pytest.raises(Unavailable) as refusal:
            line.check()
        waits.add(refusal.value.retry_after)
    assert len(waits) > 40
    assert timedelta(seconds=1) <= min(waits)
    assert max(waits) <= timedelta(seconds=3)


def test_who_failed_has_left_the_line() -> None:
    line = Admission(most=1, patience=timedelta(seconds=1))
    with pytest.raises(ValueError, match="bad"), line.standing():
        raise ValueError("bad")
    assert not refused(line)
