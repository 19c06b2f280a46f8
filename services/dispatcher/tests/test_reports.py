"""A job's way through its agent's hands: ack, progress, result, release (specification, "Agent Job Lifecycle")."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest
from dispatching import SOON, Agent, Dispatcher
from redis.asyncio import Redis

from dispatcher import signs
from platform_core.domain.ids import JobId
from platform_core.domain.jobs import MAX_RESULT_BYTES
from platform_core.wire.events import JobEvent
from platform_server.kit import metrics
from platform_server.signals.streams import Reader, Stream
from platform_server.store.connection import acquire
from platform_server.store.jobs import cancel
from world import World, eventually

RESULT = {"status": "completed", "result": {"findings": [1, "é", 1e300], "summary": "Found 1 vulnerability"}}

NewAgent = Callable[..., Awaitable[Agent]]


@pytest.fixture
async def job(world: World, agent: Agent) -> dict[str, Any]:
    """In the agent's hand, not acknowledged."""
    await world.submit(await world.tenant())
    return await agent.job()


async def test_ack_progress_result(world: World, agent: Agent, job: dict[str, Any]) -> None:
    acknowledged = await agent.tell("ack", job)
    assert acknowledged.status_code == 200
    told = acknowledged.json()["job"]
    assert (told["id"], told["status"], told["attempt"], told["timeout"]) == (job["id"], "running", 1, 1800)
    assert told["started_at"].endswith("Z")
    progress = await agent.tell("progress", job, {"progress": 50, "message": "Scanning 50% complete"})
    assert (progress.status_code, progress.json()) == (200, {"status": "running", "cancelled": False})
    row = await _row(world, job)
    assert (row["progress"], row["message"]) == (50, "Scanning 50% complete")
    result = await agent.tell("result", job, RESULT)
    told = result.json()["job"]
    assert (result.status_code, told["status"], told["progress"]) == (200, "completed", 100)
    row = await _row(world, job)
    assert (msgspec.json.decode(row["result"]), row["slot_held"]) == (RESULT["result"], False)


async def test_a_failed_job_has_its_error(world: World, agent: Agent, job: dict[str, Any]) -> None:
    await agent.tell("ack", job)
    told = await agent.tell("result", job, {"status": "failed", "error": "timeout"})
    assert told.json()["job"]["status"] == "failed"
    row = await _row(world, job)
    assert (row["status"], row["error"], row["result"]) == ("failed", "timeout", None)


async def test_repeating_an_ack_or_the_same_result_is_answered_as_the_first_time_and_told_once(
    agent: Agent, job: dict[str, Any], redis_client: Redis
) -> None:
    completed = metrics.ATTEMPTS.labels("completed")
    before = completed._value.get()
    first, again = [(await agent.tell("ack", job)).json() for _ in range(2)]
    assert first == again
    first, again = [(await agent.tell("result", job, RESULT)).json() for _ in range(2)]
    assert first == again
    other = await agent.tell("result", job, {"status": "failed", "error": "?"})
    assert (other.status_code, other.json()["code"]) == (409, "job_over")
    late = await agent.tell("ack", job)
    assert (late.status_code, late.json()["code"]) == (409, "job_over")
    assert await _events(redis_client) == ["assigned", "started", "completed"]
    assert completed._value.get() == before + 1


async def test_reports_about_an_archived_job_are_answered_as_before(
    world: World, agent: Agent, job: dict[str, Any]
) -> None:
    await agent.tell("ack", job)
    first = (await agent.tell("result", job, RESULT)).json()
    assert await world.archived() == 1
    again = await agent.tell("result", job, RESULT)
    assert (again.status_code, again.json()) == (200, first)
    reports = {"ack": None, "progress": {"progress": 1}, "result": {"status": "failed", "error": "?"}, "release": None}
    for report, body in reports.items():
        refused = await agent.tell(report, job, body)
        assert (refused.status_code, refused.json()["code"]) == (409, "job_over"), report


async def test_a_result_or_progress_before_the_ack_is_409(agent: Agent, job: dict[str, Any]) -> None:
    for what, body in (("result", RESULT), ("progress", {"progress": 1})):
        refused = await agent.tell(what, job, body)
        assert (refused.status_code, refused.json()["code"]) == (409, "job_not_running")


async def test_progress_keeps_job_and_agent_alive_and_so_do_ack_result_and_release(
    world: World, agent: Agent, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent with all its slots taken does not poll. Here the sign before is always an old one."""
    monkeypatch.setattr(signs, "_FRESH_SECONDS", 0.0)
    told: list[tuple[str, object]] = [("ack", None), ("progress", {"progress": 5}), ("release", None)]

    async def seen_just_now() -> bool:
        query = (
            "SELECT last_seen_at > clock_timestamp() - interval '40 seconds' FROM agent_presence WHERE agent_id = $1"
        )
        return bool(await world.pool.fetchval(query, agent.id))

    for what, body in told:
        await world.seen(agent.id, ago=50, online=True)
        assert (await agent.tell(what, job, body)).status_code == 200
        await eventually(seen_just_now)


async def test_release_hands_the_job_back_unfinished(
    world: World, dispatcher: Dispatcher, agent: Agent, new_agent: NewAgent, job: dict[str, Any], redis_client: Redis
) -> None:
    """Queued again, no retry spent, and the answer shows it so."""
    queued_at = (await _row(world, job))["queued_at"]
    await agent.tell("ack", job)
    released = await agent.tell("release", job)
    told = released.json()["job"]
    assert (released.status_code, told["status"], told["assigned_at"], told["started_at"]) == (
        200,
        "queued",
        None,
        None,
    )
    row = await _row(world, job)
    assert (row["status"], row["retry_count"], row["queued_at"], row["slot_held"]) == ("queued", 0, queued_at, False)
    assert '"released"' in row["log"]
    repeated = await agent.tell("release", job)
    assert (repeated.status_code, repeated.json()["code"]) == (409, "attempt_superseded")
    other = await new_agent(dispatcher, "scanner-2")
    again = await other.job()
    assert (again["id"], again["attempt"]) == (job["id"], 2)
    assert await _events(redis_client) == ["assigned", "started", "requeued", "assigned"]


async def test_a_cancelled_job(world: World, dispatcher: Dispatcher, new_agent: NewAgent) -> None:
    """Progress tells it; a result is refused and frees the slot; nothing more is given while the slot is held."""
    agent = await new_agent(dispatcher, max_concurrent=1)
    await world.submit(await world.tenant(), count=2)
    job = await agent.running()
    await _cancel(world, job)
    assert (await agent.tell("progress", job, {"progress": 7})).json() == {"status": "cancelled", "cancelled": True}
    refused = await agent.tell("ack", job)
    assert (refused.status_code, refused.json()["code"]) == (409, "job_cancelled")
    assert await agent.jobs(timeout=0) == []
    refused = await agent.tell("result", job, RESULT)
    assert (refused.status_code, refused.json()["code"]) == (409, "job_cancelled")
    assert not (await _row(world, job))["slot_held"]
    assert await agent.job()


async def test_a_release_confirms_that_a_cancelled_job_has_stopped(
    world: World, agent: Agent, job: dict[str, Any]
) -> None:
    await _cancel(world, job)
    for _ in range(2):
        released = await agent.tell("release", job)
        assert (released.status_code, released.json()["job"]["status"]) == (200, "cancelled")
    row = await _row(world, job)
    assert (row["status"], row["slot_held"]) == ("cancelled", False)


async def test_a_slot_that_is_freed_lets_a_job_go_that_waited_for_its_tenants_cap(
    world: World, dispatcher: Dispatcher, agent: Agent, new_agent: NewAgent
) -> None:
    """To another agent's poll that is held here, at once."""
    other = await new_agent(dispatcher, "scanner-2")
    await world.submit(await world.tenant("free"), count=3)
    first, _second = await agent.jobs(timeout=0, max_jobs=3)
    await agent.tell("ack", first)
    waiting = asyncio.create_task(other.job(timeout=60))
    await dispatcher.holds(1)
    await agent.tell("result", first, RESULT)
    async with asyncio.timeout(SOON):
        assert await waiting


@pytest.mark.parametrize("size", ["10 MB", "a byte more"])
async def test_a_result_is_at_most_10_mb(world: World, agent: Agent, size: str) -> None:
    await world.submit(await world.tenant())
    job = await agent.running()
    frame = len(b'{"status": "completed", "result": ""}')
    text = "x" * (MAX_RESULT_BYTES - frame + (size == "a byte more"))
    body = f'{{"status": "completed", "result": "{text}"}}'.encode()
    sent = await agent.http.post(
        f"/api/v1/platform-agent/jobs/{job['id']}/result", content=body, headers={"X-Job-Token": job["auth_token"]}
    )
    assert sent.status_code == (200 if size == "10 MB" else 413)
    if size == "a byte more":
        assert sent.json()["code"] == "payload_too_large"


async def test_hostile_bodies_are_400_or_harmless(world: World, agent: Agent) -> None:
    """And fail no neighbour: what one agent sends is written together with what others send."""
    await world.submit(await world.tenant(), count=20)
    refused = [
        b'{"status": "completed", "result": "\xff"}',
        b'{"status": "completed", "result": "\\ud800"}',
        b'{"status": "completed", "result": NaN}',
        b'{"status": "completed", "result": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"status": "cancelled"}',
        b'{"status": "failed", "error": 5}',
        b"[]",
        b"{",
    ]
    taken = [
        b'{"status": "completed", "result": "\\u0000"}',
        b'{"status": "completed", "result": 1e400}',
        b'{"status": "completed", "result": {"a": 1, "a": 2}}',
        b'{"status": "failed", "error": "\\u0000 it said"}',
        b'{"status": "completed", "result": ' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"status": "completed", "newer": true}',
        b'{"status": "completed"}',
    ]
    for status, bodies in ((400, refused), (200, taken)):
        for body in bodies:
            job = await agent.running()
            sent = await agent.http.post(
                f"/api/v1/platform-agent/jobs/{job['id']}/result",
                content=body,
                headers={"X-Job-Token": job["auth_token"]},
            )
            assert sent.status_code == status, (body[:60], sent.text)
    job = await agent.running()
    assert (await agent.tell("progress", job, {"progress": 1, "message": "\0"})).status_code == 200
    for bad in ({"progress": 101}, {"progress": -1}, {}, {"progress": 1, "message": "x" * 1001}):
        assert (await agent.tell("progress", job, bad)).status_code == 400


async def _row(world: World, job: dict[str, Any]) -> Any:
    return await world.job(JobId(UUID(job["id"])))


async def _cancel(world: World, job: dict[str, Any]) -> None:
    async with acquire(world.pool) as conn:
        await cancel(conn, (await _row(world, job))["tenant_id"], JobId(UUID(job["id"])))


async def _events(client: Redis) -> list[str]:
    """What the stream tells, from its beginning; the first reading makes the group."""
    reader = Reader(client, Stream.JOBS, JobEvent, group="tests", consumer="tests")
    await reader.read(block_ms=1)
    told = []
    while read := await reader.read(block_ms=100):
        await reader.done([entry for entry, _ in read])
        told += [event.kind.value for _, event in read]
    return told
