"""A worker on a Postgres and a Redis of the test's own, and jobs that came about as they do in life."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from redis.asyncio import Redis

from platform_core.domain import tokens
from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.jobs import JobType, Priority
from platform_core.domain.scheduling import Profile, Requirement
from platform_core.wire.events import AgentEvent, JobEvent
from platform_server.kit.clock import new_id
from platform_server.signals import streams, wakeups
from platform_server.signals.connection import connect
from platform_server.signals.streams import Reader, Stream
from platform_server.store import agents, attempts, claims, jobs, polls, tenants
from platform_server.store.claims import HandedOut, Offer
from platform_server.store.connection import Pool, acquire, transaction
from platform_server.store.leases import Lease
from queue_maintenance.announcements import Announcer
from queue_maintenance.settings import Settings
from queue_maintenance.worker import QueueWorker

KEY = b"0" * 32
REQUIREMENT = Requirement(frozenset({"nuclei"}), "nuclei", None)


def token(job: JobId, attempt: int) -> str:
    return tokens.secret_hash(tokens.job_token(job, attempt, kid="k1", key=KEY))


@dataclass
class World:
    """Tenants, agents and jobs, by the real stores; time passes by ``execute``."""

    pool: Pool

    async def execute(self, statement: str, *args: object) -> str:
        return await self.pool.execute(statement, *args)

    async def tenant(self) -> TenantId:
        tenant = TenantId(new_id())
        async with transaction(self.pool) as conn:
            await tenants.put(conn, tenant, name="acme", plan="enterprise", status="active")
        return tenant

    async def agent(self, name: str = "scanner-1") -> AgentId:
        """Online, and seen just now."""
        agent = AgentId(new_id())
        described = agents.Description(
            name=name, capabilities=["nuclei"], tools=["nuclei"], labels=[], region=None, max_concurrent=50,
            version=None, hostname=None,
        )  # fmt: skip
        key = agents.Key(hash=tokens.secret_hash(name), prefix="rdv_agent_x")
        async with transaction(self.pool) as conn:
            assert await agents.insert_if_name_free(conn, agent, described, key)
        await self.seen(agent, ago=0, online=True)
        return agent

    async def seen(self, agent: AgentId, *, ago: float, online: bool) -> None:
        await self.execute(
            "UPDATE agent_presence SET online = $2, last_seen_at = clock_timestamp() - $3::interval"
            " WHERE agent_id = $1",
            agent,
            online,
            timedelta(seconds=ago),
        )

    async def submit(self, tenant: TenantId, *, count: int = 1, priority: Priority = Priority.NORMAL) -> list[JobId]:
        asked = [
            jobs.NewJob(
                id=JobId(new_id()), tenant=tenant, type=JobType.SCAN, priority=priority, payload='{"tool": "nuclei"}',
                requirement=REQUIREMENT, timeout_seconds=1800, auth_token_hash="0" * 64, retry_of=None,
                traceparent=None, key=None, body_hash="",
            )
            for _ in range(count)
        ]  # fmt: skip
        async with transaction(self.pool) as conn:
            accepted = await jobs.submit(conn, asked)
        assert all(isinstance(one, jobs.Accepted) for one in accepted), accepted
        return [job.id for job in asked]

    async def hand_out(self, agent: AgentId, *, count: int = 1) -> list[HandedOut]:
        async with transaction(self.pool) as conn:
            profile = await claims.intern_profile(conn, Profile(frozenset({"nuclei"}), frozenset({"nuclei"}), ""))
            await polls.note(conn, {agent: profile})
        offers = [Offer(agent, profile, count, 0.0)]
        claimed = await claims.claim(self.pool, offers, token_hash=token, region_patience=timedelta(seconds=30))
        assert len(claimed.handed_out) == count
        return list(claimed.handed_out)

    async def held(self, agent: AgentId, *, acknowledged: bool = True) -> HandedOut:
        """A job that was submitted and handed to the agent."""
        await self.submit(await self.tenant())
        (handed_out,) = await self.hand_out(agent)
        if acknowledged:
            held = attempts.Held(handed_out.job, agent, handed_out.attempt, token(handed_out.job, handed_out.attempt))
            async with transaction(self.pool) as conn:
                (report,) = await attempts.ack(conn, [held])
            assert isinstance(report, attempts.Report), report
        return handed_out

    async def cancel(self, handed_out: HandedOut) -> None:
        async with acquire(self.pool) as conn:
            await jobs.cancel(conn, handed_out.tenant, handed_out.job)

    async def job(self, job: JobId) -> Any:
        row = await self.pool.fetchrow("SELECT *, attempt_log::text AS log FROM commands WHERE id = $1", job)
        assert row is not None
        return row


@pytest.fixture
def world(pool: Pool) -> World:
    return World(pool)


@pytest.fixture
def settings(database: str, redis: str) -> Settings:
    return Settings(database_url=database, redis_url=redis, jwt_secret="s" * 32, job_token_keys="k1:" + "00" * 32)


@pytest.fixture
async def client(redis: str) -> AsyncIterator[Redis]:
    async with connect(redis) as opened:
        yield opened


@pytest.fixture
def new_worker(pool: Pool, client: Redis, settings: Settings) -> Callable[[str], QueueWorker]:
    """One more replica, under that name."""

    def make(holder: str) -> QueueWorker:
        lease = Lease("queue-maintenance", holder, timedelta(seconds=15))
        announcer = Announcer(partial(wakeups.publish, client), partial(streams.append, client))
        return QueueWorker(pool, lease, announcer, settings)

    return make


@pytest.fixture
async def worker(new_worker: Callable[[str], QueueWorker]) -> QueueWorker:
    """The acting replica."""
    made = new_worker("first")
    await made.renew()
    return made


@pytest.fixture
async def events(client: Redis) -> Reader[AgentEvent]:
    """The worker's reader of agents' events, its group made."""
    reader = Reader(client, Stream.AGENTS, AgentEvent, group="queue-maintenance", consumer="queue-maintenance")
    await reader.read(block_ms=1)
    return reader


@pytest.fixture
def job_events(client: Redis) -> Callable[[], Awaitable[list[str]]]:
    """The kinds of all events on the stream of jobs."""
    reader = Reader(client, Stream.JOBS, JobEvent, group="tests", consumer="tests")

    async def kinds() -> list[str]:
        await reader.read(block_ms=1)
        return [event.kind.value for _, event in await reader.read(block_ms=1)]

    return kinds
