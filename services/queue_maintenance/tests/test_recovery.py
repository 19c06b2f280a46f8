"""Recovery: whose attempts are lost, what becomes of the jobs; at once when an agent is said to be gone."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from platform_core.wire.events import AgentControl, AgentEvent, AgentEventKind, JobQueued
from platform_server.signals import outgoing
from platform_server.signals.outgoing import Message
from platform_server.signals.streams import Reader, Stream
from platform_server.signals.wakeups import Channel
from queue_maintenance.worker import QueueWorker


@asynccontextmanager
async def overheard(client: Redis) -> AsyncIterator[dict[str, bytes]]:
    """What was published in the body, by channel."""
    heard: dict[str, bytes] = {}
    async with client.pubsub() as pubsub:
        await pubsub.subscribe(Channel.JOB_QUEUE, Channel.AGENT_CONTROL)
        yield heard
        while (message := await pubsub.get_message(timeout=0.3)) is not None:
            if message["type"] == "message":
                heard[message["channel"].decode()] = message["data"]


async def test_a_job_of_a_silent_offline_agent_is_queued_again(world: Any, worker: QueueWorker) -> None:
    agent = await world.agent()
    held = await world.held(agent)
    before = await world.job(held.job)
    await world.execute("UPDATE commands SET assigned_at = assigned_at - interval '61 s'")
    await world.seen(agent, ago=61, online=False)

    assert await worker.recover() == 1

    job = await world.job(held.job)
    assert (job["status"], job["retry_count"], job["slot_held"], job["platform_agent_id"]) == ("queued", 1, False, None)
    assert job["queued_at"] == before["queued_at"]
    (logged,) = json.loads(job["log"])
    assert (logged["attempt"], logged["agent_id"]) == (1, str(agent))
    assert (logged["outcome"], logged["reason"]) == ("lost", "the agent fell silent")
    assert await worker.recover() == 0


@pytest.mark.parametrize(
    ("ago", "online"),
    [(300, True), (30, False)],
    ids=["agent-health has not said so: the fault may be ours", "offline, but seen by a poll since"],
)
async def test_an_agent_that_may_be_there_keeps_its_job(
    world: Any, worker: QueueWorker, ago: float, online: bool
) -> None:
    agent = await world.agent()
    held = await world.held(agent)
    await world.execute("UPDATE commands SET assigned_at = assigned_at - interval '10 min'")
    await world.seen(agent, ago=ago, online=online)
    assert await worker.recover() == 0
    assert (await world.job(held.job))["status"] == "running"


@pytest.mark.parametrize(("waited", "status"), [(58, "assigned"), (60, "queued")])
async def test_the_ack_deadline_is_60_seconds(world: Any, worker: QueueWorker, waited: int, status: str) -> None:
    held = await world.held(await world.agent(), acknowledged=False)
    await world.execute("UPDATE commands SET assigned_at = clock_timestamp() - $1 * interval '1 s'", waited)
    await worker.recover()
    assert (await world.job(held.job))["status"] == status


async def test_a_job_without_a_result_by_its_timeout_and_10_minutes_is_lost(world: Any, worker: QueueWorker) -> None:
    held = await world.held(await world.agent())
    row = await world.job(held.job)
    assert (row["auth_token_expires_at"] - row["assigned_at"]).total_seconds() == 1800 + 600
    assert await worker.recover() == 0
    await world.execute("UPDATE commands SET auth_token_expires_at = clock_timestamp()")
    assert await worker.recover() == 1
    assert "nothing came in the time" in (await world.job(held.job))["log"]


@pytest.mark.parametrize(
    ("change", "outcome"),
    [("admin_state = 'disabled'", "agent_disabled"), ("deleted_at = clock_timestamp()", "agent_deleted")],
)
async def test_a_disabled_or_deleted_agents_job_goes_back_and_spends_no_retry(
    world: Any, worker: QueueWorker, change: str, outcome: str
) -> None:
    agent = await world.agent()
    held = await world.held(agent)
    await world.execute(f"UPDATE agents SET {change} WHERE id = $1", agent)
    assert await worker.recover() == 1
    job = await world.job(held.job)
    assert (job["status"], job["retry_count"]) == ("queued", 0)
    assert json.loads(job["log"])[0]["outcome"] == outcome


async def test_after_3_retries_the_job_has_failed_with_every_attempts_reason(world: Any, worker: QueueWorker) -> None:
    agent = await world.agent()
    held = await world.held(agent, acknowledged=False)
    for attempt in range(1, 5):
        assert (await world.job(held.job))["attempt"] == attempt
        await world.execute("UPDATE commands SET assigned_at = clock_timestamp() - interval '61 s'")
        assert await worker.recover() == 1
        if attempt <= 3:
            await world.hand_out(agent)
    job = await world.job(held.job)
    assert (job["status"], job["retry_count"], job["slot_held"]) == ("failed", 3, False)
    assert job["error"] == "the agent did not acknowledge it; no agent finished it in 4 tries"
    log = json.loads(job["log"])
    assert [entry["attempt"] for entry in log] == [1, 2, 3, 4]
    assert all("did not acknowledge" in entry["reason"] for entry in log)


async def test_a_lost_attempt_refunds_the_tenants_turn(world: Any, worker: QueueWorker) -> None:
    await world.held(await world.agent(), acknowledged=False)
    await world.execute("UPDATE commands SET assigned_at = clock_timestamp() - interval '61 s'")
    await worker.recover()
    (row,) = await world.pool.fetch("SELECT charged > 0 AS charged, held_seconds FROM turn_corrections")
    assert (row["charged"], row["held_seconds"]) == (True, None)


async def test_the_agent_hears_that_it_lost_the_job_and_waiting_polls_that_there_is_work(
    world: Any, worker: QueueWorker, client: Redis, job_events: Callable[[], Awaitable[list[str]]]
) -> None:
    agent = await world.agent()
    held = await world.held(agent, acknowledged=False)
    await world.execute("UPDATE commands SET assigned_at = clock_timestamp() - interval '61 s'")
    async with overheard(client) as heard:
        await worker.recover()
    control = msgspec.json.decode(heard["agent_control"], type=AgentControl)
    assert (control.kind, control.agent_id, control.job_id) == ("lost", agent, held.job)
    assert msgspec.json.decode(heard["job_queue"], type=JobQueued).tool == "nuclei"
    assert await job_events() == ["requeued"]


@pytest.mark.parametrize("kind", [AgentEventKind.OFFLINE, AgentEventKind.DISABLED, AgentEventKind.DELETED])
async def test_an_agent_that_is_said_to_be_gone_has_its_jobs_requeued_at_once(
    world: Any, worker: QueueWorker, events: Reader[AgentEvent], client: Redis, kind: AgentEventKind
) -> None:
    agent = await world.agent()
    held = await world.held(agent)
    await world.execute("UPDATE commands SET assigned_at = assigned_at - interval '61 s'")
    await world.seen(agent, ago=61, online=False)
    await outgoing.send(client, [Message(Stream.AGENTS, AgentEvent(kind=kind, agent_id=agent))])
    assert await worker.follow(events) == 1
    assert (await world.job(held.job))["status"] == "queued"
    assert (await client.xpending(Stream.AGENTS, "queue-maintenance"))["pending"] == 0


async def test_an_old_event_of_an_agent_that_has_come_back_takes_nothing_from_it(
    world: Any, worker: QueueWorker, events: Reader[AgentEvent], client: Redis
) -> None:
    agent = await world.agent()
    held = await world.held(agent)
    await outgoing.send(client, [Message(Stream.AGENTS, AgentEvent(kind=AgentEventKind.OFFLINE, agent_id=agent))])
    assert await worker.follow(events) == 1
    assert (await world.job(held.job))["status"] == "running"


async def test_events_are_read_again_after_redis_was_flushed(
    world: Any, worker: QueueWorker, events: Reader[AgentEvent], client: Redis
) -> None:
    await client.flushall()
    await outgoing.send(
        client, [Message(Stream.AGENTS, AgentEvent(kind=AgentEventKind.OFFLINE, agent_id=await world.agent()))]
    )
    assert await worker.follow(events) == 0
    assert await worker.follow(events) == 1


async def test_while_the_brake_is_on_only_an_administrators_word_takes_a_job_back(
    world: Any, worker: QueueWorker
) -> None:
    silent, late, disabled = [await world.agent(name) for name in ("silent", "late", "disabled")]
    jobs = [await world.held(silent), await world.held(late, acknowledged=False), await world.held(disabled)]
    await world.execute("UPDATE commands SET assigned_at = clock_timestamp() - interval '2 min'")
    await world.seen(silent, ago=120, online=False)
    await world.execute("UPDATE agents SET admin_state = 'disabled' WHERE id = $1", disabled)
    await world.execute(
        "INSERT INTO worker_leases VALUES ('requeue-brake', 'mass-silence', 1, clock_timestamp() + interval '1 min')"
    )
    assert await worker.recover() == 1
    assert [(await world.job(held.job))["status"] for held in jobs] == ["running", "assigned", "queued"]

    await world.execute("UPDATE worker_leases SET expires_at = clock_timestamp() WHERE name = 'requeue-brake'")
    assert await worker.recover() == 2


@pytest.mark.parametrize(("ago", "freed"), [(58, 0), (60, 1)])
async def test_an_unconfirmed_cancel_frees_the_agents_slot_after_60_seconds(
    world: Any, worker: QueueWorker, ago: int, freed: int
) -> None:
    held = await world.held(await world.agent())
    await world.cancel(held)
    await world.execute(
        "UPDATE commands SET assigned_at = clock_timestamp() - interval '2 min',"
        " completed_at = clock_timestamp() - $1 * interval '1 s'",
        ago,
    )
    assert await worker.free_unconfirmed() == freed
    job = await world.job(held.job)
    assert (job["status"], job["slot_held"]) == ("cancelled", not freed)
    assert len(await world.pool.fetch("SELECT held_seconds FROM turn_corrections WHERE held_seconds > 0")) == freed
