"""Queue Priority = Base Priority + Age Bonus."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_core.domain.jobs import Priority
from platform_core.domain.priority import age_bonus, base_priority, queue_priority


def minutes(n: float) -> timedelta:
    return timedelta(minutes=n)


@pytest.mark.parametrize(
    ("priority", "expected"),
    [(Priority.CRITICAL, 1000), (Priority.HIGH, 750), (Priority.NORMAL, 500), (Priority.LOW, 250)],
)
def test_base_priority_is_critical_1000_high_750_normal_500_low_250(priority: Priority, expected: int) -> None:
    assert base_priority(priority) == expected


@pytest.mark.parametrize(
    ("waited", "expected"),
    [
        (timedelta(seconds=-5), 0),
        (minutes(0), 0),
        (timedelta(seconds=5.999999), 0),
        (timedelta(seconds=6), 1),
        (timedelta(seconds=59.9), 9),
        (minutes(1), 10),
        (minutes(49.9), 499),
        (minutes(50), 500),
        (minutes(600), 500),
    ],
    ids=[
        "a clock that lags",
        "fresh",
        "not yet a point",
        "a point every six seconds",
        "points are whole",
        "ten points a minute",
        "almost full",
        "full at 50 minutes",
        "capped",
    ],
)
def test_age_bonus_is_minutes_in_queue_times_10_capped_at_500(waited: timedelta, expected: int) -> None:
    assert age_bonus(waited) == expected


@pytest.mark.parametrize(
    ("priority", "waited", "expected"),
    [
        (Priority.NORMAL, minutes(0), 500),
        (Priority.NORMAL, minutes(7), 570),
        (Priority.LOW, minutes(50), 750),
        (Priority.LOW, minutes(600), 750),
        (Priority.CRITICAL, minutes(600), 1500),
    ],
    ids=["fresh", "ten points a minute", "bonus full at 50 minutes", "bonus capped", "the highest there is"],
)
def test_queue_priority_is_base_plus_age_bonus_capped_at_500(
    priority: Priority, waited: timedelta, expected: int
) -> None:
    assert queue_priority(priority, waited=waited) == expected


def test_a_low_job_never_passes_a_fresh_critical_one() -> None:
    assert queue_priority(Priority.LOW, waited=minutes(10_000)) < queue_priority(Priority.CRITICAL, waited=minutes(0))


@given(
    priority=st.sampled_from(Priority),
    one=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=30)),
    other=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=30)),
)
def test_older_jobs_get_priority_over_newer_ones(priority: Priority, one: timedelta, other: timedelta) -> None:
    older, newer = max(one, other), min(one, other)
    assert queue_priority(priority, waited=older) >= queue_priority(priority, waited=newer)
