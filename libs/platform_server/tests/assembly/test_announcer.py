"""What the other services hear: on which channel or stream, in which words; and that Redis may be away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest
from redis.asyncio import Redis

from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.scheduling import Requirement
from platform_core.wire.events import (
    AgentControl,
    AgentEvent,
    AgentEventKind,
    AssignedJob,
    ControlKind,
    JobEvent,
    JobEventKind,
    JobQueued,
    JobsAssigned,
)
from platform_server.assembly.announcer import Announcer
from platform_server.signals.connection import connect
from platform_server.signals.streams import Event, Reader, Stream
from platform_server.signals.wakeups import Channel
from world import eventually

AGENT, JOB, TENANT = AgentId(uuid4()), JobId(uuid4()), TenantId(uuid4())
NUCLEI = Requirement(frozenset({"nuclei"}), "nuclei", "eu-west-1")


@dataclass(frozen=True)
class Attempt:
    """A job on its second attempt, that went back to the queue."""

    job: JobId = JOB
    tenant: TenantId = TENANT
    attempt: int = 2
    agent: AgentId = AGENT
    requirement: Requirement = NUCLEI


@dataclass(frozen=True)
class HandedOut:
    """A job in its first agent's hand."""

    job: JobId = JOB
    tenant: TenantId = TENANT
    attempt: int = 1
    agent: AgentId = AGENT
    assigned_at: datetime = datetime(2026, 11, 25, 12, tzinfo=UTC)
    waited: timedelta = timedelta(milliseconds=3)


@pytest.fixture
def announcer(client: Redis) -> Announcer:
    return Announcer(client)


@asynccontextmanager
async def overheard(client: Redis) -> AsyncIterator[list[tuple[str, bytes]]]:
    """What was published in the body, and on which channel."""
    heard: list[tuple[str, bytes]] = []
    async with client.pubsub() as pubsub:
        await pubsub.subscribe(*Channel)
        yield heard
        await client.publish(Channel.JOB_QUEUE, b"the end")
        while True:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
            if message is not None and message["data"] == b"the end":
                return
            if message is not None:
                heard.append((message["channel"].decode(), message["data"]))


async def appended(client: Redis, stream: Stream, kind: type[Event]) -> list[Event]:
    reader = Reader(client, stream, kind, group="tests", consumer="tests")
    await reader.read(block_ms=1)
    return [event for _, event in await reader.read(block_ms=1)]


async def test_what_happens_to_agents_is_appended_to_their_stream(announcer: Announcer, client: Redis) -> None:
    other = AgentId(uuid4())
    await announcer.agents(AgentEventKind.OFFLINE, [AGENT, other])
    assert await appended(client, Stream.AGENTS, AgentEvent) == [
        AgentEvent(kind=AgentEventKind.OFFLINE, agent_id=AGENT),
        AgentEvent(kind=AgentEventKind.OFFLINE, agent_id=other),
    ]


async def test_an_administrators_word_is_published_to_whoever_serves_the_agent(
    announcer: Announcer, client: Redis
) -> None:
    async with overheard(client) as heard:
        await announcer.control(ControlKind.DISABLE, AGENT)
    ((channel, body),) = heard
    assert channel == "agent_control"
    assert msgspec.json.decode(body, type=AgentControl) == AgentControl(kind=ControlKind.DISABLE, agent_id=AGENT)


async def test_each_agent_is_told_which_job_to_stop(announcer: Announcer, client: Redis) -> None:
    async with overheard(client) as heard:
        await announcer.stop(ControlKind.CANCEL, [(AGENT, JOB)])
    ((_, body),) = heard
    told = msgspec.json.decode(body, type=AgentControl)
    assert told == AgentControl(kind=ControlKind.CANCEL, agent_id=AGENT, job_id=JOB)


async def test_a_queued_job_wakes_with_what_it_requires_and_is_an_event(announcer: Announcer, client: Redis) -> None:
    async with overheard(client) as heard:
        announcer.queued(JOB, TENANT, NUCLEI)
        await announcer.finish()
    ((channel, body),) = heard
    assert channel == "job_queue"
    assert msgspec.json.decode(body, type=JobQueued).requirement == NUCLEI
    assert await appended(client, Stream.JOBS, JobEvent) == [
        JobEvent(kind=JobEventKind.QUEUED, job_id=JOB, tenant_id=TENANT)
    ]


async def test_jobs_that_go_back_wake_again(announcer: Announcer, client: Redis) -> None:
    async with overheard(client) as heard:
        await announcer.requeued([Attempt()])
    assert [channel for channel, _ in heard] == ["job_queue"]
    assert await appended(client, Stream.JOBS, JobEvent) == [
        JobEvent(kind=JobEventKind.REQUEUED, job_id=JOB, tenant_id=TENANT, agent_id=AGENT, attempt=2)
    ]


async def test_job_intakes_hear_who_holds_a_job_that_was_just_submitted(announcer: Announcer, client: Redis) -> None:
    async with overheard(client) as heard:
        announcer.assigned([HandedOut()])
        await announcer.finish()
    ((channel, body),) = heard
    assert channel == "job_assigned"
    assert msgspec.json.decode(body) == [1, [[str(JOB), str(AGENT), "2026-11-25T12:00:00Z"]]]
    assert await appended(client, Stream.JOBS, JobEvent) == [
        JobEvent(kind=JobEventKind.ASSIGNED, job_id=JOB, tenant_id=TENANT, agent_id=AGENT, attempt=1)
    ]


async def test_an_assignment_for_which_no_answer_can_wait_is_an_event_only(announcer: Announcer, client: Redis) -> None:
    async with overheard(client) as heard:
        announcer.assigned([HandedOut(attempt=2), HandedOut(waited=timedelta(seconds=2))])
        announcer.assigned([])
        await announcer.finish()
    assert heard == []
    assert len(await appended(client, Stream.JOBS, JobEvent)) == 2


async def test_what_is_handed_to_many_polls_at_once_is_one_message(announcer: Announcer, client: Redis) -> None:
    held = [HandedOut(job=JobId(uuid4())) for _ in range(9)]
    async with overheard(client) as heard:
        for one in held:
            announcer.assigned([one])
        announcer.queued(JOB, TENANT, NUCLEI)
        await announcer.finish()
    told = [msgspec.json.decode(body, type=JobsAssigned) for channel, body in heard if channel == "job_assigned"]
    assert [message.jobs for message in told] == [tuple(AssignedJob(one.job, AGENT, one.assigned_at) for one in held)]
    assert [channel for channel, _ in heard] == ["job_assigned", "job_queue"]
    assert len(await appended(client, Stream.JOBS, JobEvent)) == 10


async def test_attempts_and_what_happens_without_one_are_events(announcer: Announcer, client: Redis) -> None:
    announcer.attempted(JobEventKind.STARTED, [Attempt()])
    announcer.happened(JobEventKind.COMPLETED, JOB, TENANT, agent=AGENT, attempt=2)
    announcer.happened(JobEventKind.EXPIRED, JOB, TENANT)
    await announcer.finish()
    assert await appended(client, Stream.JOBS, JobEvent) == [
        JobEvent(kind=JobEventKind.STARTED, job_id=JOB, tenant_id=TENANT, agent_id=AGENT, attempt=2),
        JobEvent(kind=JobEventKind.COMPLETED, job_id=JOB, tenant_id=TENANT, agent_id=AGENT, attempt=2),
        JobEvent(kind=JobEventKind.EXPIRED, job_id=JOB, tenant_id=TENANT),
    ]


async def test_nothing_to_tell_tells_nothing(announcer: Announcer, client: Redis) -> None:
    await announcer.agents(AgentEventKind.OFFLINE, [])
    await announcer.requeued([])
    await announcer.stop(ControlKind.LOST, [])
    assert await client.keys("*") == []


SAYINGS: list[Callable[[Announcer], Awaitable[None] | None]] = [
    lambda announcer: announcer.agents(AgentEventKind.ONLINE, [AGENT]),
    lambda announcer: announcer.control(ControlKind.DRAIN, AGENT),
    lambda announcer: announcer.stop(ControlKind.LOST, [(AGENT, JOB)]),
    lambda announcer: announcer.queued(JOB, TENANT, NUCLEI),
    lambda announcer: announcer.requeued([Attempt()]),
    lambda announcer: announcer.assigned([HandedOut()]),
    lambda announcer: announcer.attempted(JobEventKind.STARTED, [Attempt()]),
    lambda announcer: announcer.happened(JobEventKind.STARTED, JOB, TENANT),
]


@pytest.mark.parametrize(
    "say", SAYINGS, ids=["agents", "control", "stop", "queued", "requeued", "assigned", "attempted", "happened"]
)
async def test_with_redis_away_nothing_is_raised(
    absent: Redis, say: Callable[[Announcer], Awaitable[None] | None]
) -> None:
    announcer = Announcer(absent)
    if (saying := say(announcer)) is not None:
        await saying
    await announcer.finish()


async def test_a_redis_that_never_answers_holds_nobody_up_for_its_second(silent: str) -> None:
    async with connect(silent) as stalled:
        announcer = Announcer(stalled)
        async with asyncio.timeout(0.9):
            for _ in range(3):
                await announcer.control(ControlKind.DISABLE, AGENT)
        await announcer.finish()


async def test_messages_that_gathered_go_out_in_their_order(announcer: Announcer, client: Redis) -> None:
    agents = [AgentId(uuid4()) for _ in range(50)]
    await asyncio.gather(*(announcer.agents(AgentEventKind.ONLINE, [agent]) for agent in agents))
    await announcer.finish()
    told = await appended(client, Stream.AGENTS, AgentEvent)
    assert told == [AgentEvent(kind=AgentEventKind.ONLINE, agent_id=agent) for agent in agents]


async def test_events_wait_a_moment_for_company_and_go_with_the_next_wake_up(
    announcer: Announcer, client: Redis
) -> None:
    announcer.happened(JobEventKind.STARTED, JOB, TENANT)
    announcer.happened(JobEventKind.COMPLETED, JOB, TENANT)
    assert await client.xlen(Stream.JOBS) == 0
    async with overheard(client) as heard:
        await announcer.control(ControlKind.DRAIN, AGENT)
    assert len(heard) == 1
    assert [event.kind for event in await appended(client, Stream.JOBS, JobEvent)] == ["started", "completed"]


async def test_events_go_by_themselves_when_nothing_follows(announcer: Announcer, client: Redis) -> None:
    announcer.happened(JobEventKind.STARTED, JOB, TENANT)

    async def told() -> bool:
        return bool(await client.xlen(Stream.JOBS))

    await eventually(told, seconds=1)
