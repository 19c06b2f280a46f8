"""What a heartbeat says of jobs, and what the agent hears of them: cancelled, lost, left out."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from httpx import Response
from redis.asyncio import Redis

from agent_health.omissions import Omissions
from platform_core.domain.ids import AgentId, JobId
from platform_core.domain.jobs import JobStatus
from platform_core.wire.events import JobEvent
from platform_server.signals.streams import Reader, Stream
from platform_server.store.presence import HeldJob

Beat = Callable[..., Awaitable[Response]]


@pytest.fixture
def job_events(client: Redis) -> Callable[[], Awaitable[list[str]]]:
    """The kinds of all events on the stream of jobs."""
    reader = Reader(client, Stream.JOBS, JobEvent, group="tests", consumer="tests")

    async def kinds() -> list[str]:
        read = [*await reader.read(block_ms=1), *await reader.read(block_ms=100)]
        return [event.kind.value for _, event in read]

    return kinds


async def told(beat: Beat, **body: object) -> tuple[list[str], list[str]]:
    """Which jobs the agent hears to be cancelled, and which lost."""
    answered = await beat(**body)
    assert answered.status_code == 200, answered.text
    return answered.json()["cancelled_jobs"], answered.json()["lost_jobs"]


async def test_a_cancelled_job_that_the_agent_runs_is_told_and_keeps_its_slot(
    world: Any, agent: AgentId, beat: Beat
) -> None:
    held = await world.held(agent)
    await world.cancel(held)
    for _ in range(2):
        assert await told(beat, running_jobs=[str(held.job)]) == ([str(held.job)], [])
        assert (await world.job(held.job))["slot_held"]


async def test_a_cancelled_job_that_a_heartbeat_leaves_out_frees_its_slot(
    world: Any, agent: AgentId, beat: Beat
) -> None:
    held = await world.held(agent)
    await world.cancel(held)
    assert await told(beat, running_jobs=[]) == ([], [])
    job = await world.job(held.job)
    assert (job["status"], job["slot_held"]) == ("cancelled", False)
    (row,) = await world.pool.fetch("SELECT charged > 0 AS charged, held_seconds FROM turn_corrections")
    assert row["charged"]
    assert row["held_seconds"] is not None


async def test_a_job_that_was_cancelled_and_confirmed_is_still_told_to_an_agent_that_names_it(
    world: Any, agent: AgentId, beat: Beat
) -> None:
    held = await world.held(agent)
    await world.cancel(held)
    await beat(running_jobs=[])
    assert await told(beat, running_jobs=[str(held.job)]) == ([str(held.job)], [])


async def test_a_heartbeat_without_running_jobs_says_nothing_about_them(world: Any, agent: AgentId, beat: Beat) -> None:
    cancelled, running = await world.held(agent), await world.held(agent)
    await world.cancel(cancelled)
    for _ in range(3):
        assert await told(beat) == ([str(cancelled.job)], [])
    assert (await world.job(cancelled.job))["slot_held"]
    assert (await world.job(running.job))["status"] == "running"


async def test_a_job_that_two_heartbeats_in_a_row_leave_out_is_lost_and_queued_again(
    world: Any, agent: AgentId, beat: Beat, job_events: Callable[[], Awaitable[list[str]]]
) -> None:
    held = await world.held(agent)
    before = await world.job(held.job)
    await beat(running_jobs=[])
    assert (await world.job(held.job))["status"] == "running"
    await beat(running_jobs=[])
    job = await world.job(held.job)
    assert (job["status"], job["retry_count"], job["slot_held"]) == ("queued", 1, False)
    assert job["queued_at"] == before["queued_at"]
    (logged,) = json.loads(job["log"])
    assert (logged["attempt"], logged["outcome"]) == (1, "lost")
    assert logged["reason"] == "the agent does not run it any more"
    assert await job_events() == ["requeued"]


async def test_with_its_retries_spent_it_has_failed(
    world: Any, agent: AgentId, beat: Beat, job_events: Callable[[], Awaitable[list[str]]]
) -> None:
    held = await world.held(agent)
    await world.execute("UPDATE commands SET retry_count = 3")
    for _ in range(2):
        await beat(running_jobs=[])
    job = await world.job(held.job)
    assert (job["status"], job["error"]) == (
        "failed",
        "the agent does not run it any more; no agent finished it in 4 tries",
    )
    assert await job_events() == ["failed"]


async def test_left_out_only_now_and_then_it_is_not_lost(world: Any, agent: AgentId, beat: Beat) -> None:
    held = await world.held(agent)
    for running in ([], [str(held.job)], [], [str(held.job)]):
        await beat(running_jobs=running)
    assert (await world.job(held.job))["status"] == "running"


async def test_a_job_that_is_not_acknowledged_is_left_to_the_ack_deadline(
    world: Any, agent: AgentId, beat: Beat
) -> None:
    held = await world.held(agent, acknowledged=False)
    for _ in range(3):
        assert await told(beat, running_jobs=[]) == ([], [])
    assert (await world.job(held.job))["status"] == "assigned"


async def test_a_job_that_another_agent_has_now_is_told_as_lost(world: Any, agent: AgentId, beat: Beat) -> None:
    held = await world.held(agent)
    for _ in range(2):
        await beat(running_jobs=[])
    await world.hand_out(await world.agent("scanner-2"))
    assert await told(beat, running_jobs=[str(held.job)]) == ([], [str(held.job)])


async def test_a_job_that_nobody_knows_is_told_as_lost_and_one_that_it_completed_is_not(
    world: Any, agent: AgentId, beat: Beat
) -> None:
    completed, unknown = await world.held(agent), str(uuid4())
    await world.execute("UPDATE commands SET status = 'completed', slot_held = false, completed_at = clock_timestamp()")
    assert await told(beat, running_jobs=[str(completed.job), unknown]) == ([], [unknown])
    assert await world.archived() == 1
    assert await told(beat, running_jobs=[str(completed.job), unknown]) == ([], [unknown])


async def test_a_running_job_of_another_agent_is_not_touched(world: Any, agent: AgentId, beat: Beat) -> None:
    held = await world.held(await world.agent("scanner-2"))
    for _ in range(3):
        assert await told(beat, running_jobs=[]) == ([], [])
    assert (await world.job(held.job))["status"] == "running"


AGENT = AgentId(uuid4())
HELD = HeldJob(AGENT, JobId(uuid4()), 1, JobStatus.RUNNING, 0)


def test_heartbeats_that_are_long_apart_are_not_in_a_row() -> None:
    omissions = Omissions(timedelta(0))
    assert [omissions.lost(AGENT, [HELD]) for _ in range(3)] == [[], [], []]


def test_a_later_attempt_of_a_job_is_another_one() -> None:
    omissions = Omissions(timedelta(seconds=30))
    again = replace(HELD, attempt=2)
    assert [omissions.lost(AGENT, [held]) for held in (HELD, again, again)] == [[], [], [again]]


async def test_only_what_is_old_is_forgotten() -> None:
    omissions = Omissions(timedelta(seconds=30))
    omissions.lost(AGENT, [HELD])
    await omissions.forget_old()
    assert omissions.lost(AGENT, [HELD]) == [HELD]
