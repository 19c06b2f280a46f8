"""Loops: again at once while there is work, on after a failure, and stalled when they do not come round."""

import asyncio
import logging
import time
from datetime import timedelta

import pytest

from platform_server.kit.loops import Loop, running

NEVER = timedelta(hours=1)
AT_ONCE = timedelta(0)


async def nothing() -> int:
    return 0


async def test_a_step_that_did_something_goes_again_at_once_until_it_does_nothing() -> None:
    left, rests = [3, 2, 1, 0], asyncio.Event()

    async def step() -> int:
        found = left.pop(0)
        if not left:
            rests.set()
        return found

    async with running([Loop("work", step, NEVER)]):
        await asyncio.wait_for(rests.wait(), 5)
    assert left == []


async def test_a_step_that_fails_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    tries, again = iter([1, 2]), asyncio.Event()

    async def step() -> int:
        if next(tries) == 1:
            raise ConnectionError
        again.set()
        await asyncio.Event().wait()
        return 0

    async with running([Loop("flaky", step, AT_ONCE)]):
        await asyncio.wait_for(again.wait(), 5)
    assert [(record.levelno, record.message) for record in caplog.records] == [(logging.ERROR, "loop_step_failed")]


async def test_a_loop_ends_with_the_body() -> None:
    before = asyncio.all_tasks()
    async with running([Loop("one", nothing, NEVER), Loop("two", nothing, AT_ONCE)]):
        assert len(asyncio.all_tasks() - before) == 2
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize(
    ("every", "silent_for", "stalled"),
    [(1, 59, False), (1, 61, True), (30, 89, False), (30, 91, True), (300, 899, False), (300, 901, True)],
)
def test_a_loop_is_stalled_after_three_intervals_and_no_less_than_a_minute(
    monkeypatch: pytest.MonkeyPatch, every: int, silent_for: int, stalled: bool
) -> None:
    loop = Loop("quiet", nothing, timedelta(seconds=every))
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + silent_for)
    assert loop.stalled is stalled
