"""A worker on a Postgres and a Redis of the test's own, and jobs that came about as they do in life."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from platform_core.wire.events import AgentEvent, JobEvent
from platform_server.assembly.announcer import Announcer
from platform_server.assembly.workers import Acting
from platform_server.signals.connection import connect
from platform_server.signals.streams import Reader, Stream
from platform_server.store.connection import Pool
from platform_server.store.leases import Lease
from queue_maintenance.settings import Settings
from queue_maintenance.worker import QueueWorker
from world import JOB_TOKEN_KEYS, JWT_SECRET


@pytest.fixture
def settings(database: str, redis: str) -> Settings:
    return Settings(database_url=database, redis_url=redis, jwt_secret=JWT_SECRET, job_token_keys=JOB_TOKEN_KEYS)


@pytest.fixture
async def client(redis: str) -> AsyncIterator[Redis]:
    async with connect(redis) as opened:
        yield opened


@pytest.fixture
def new_worker(pool: Pool, client: Redis, settings: Settings) -> Callable[[str], QueueWorker]:
    """One more replica, under that name."""

    def make(holder: str) -> QueueWorker:
        lease = Lease("queue-maintenance", holder, timedelta(seconds=15))
        return QueueWorker(Acting(pool, lease), Announcer(client), settings)

    return make


@pytest.fixture
async def worker(new_worker: Callable[[str], QueueWorker]) -> QueueWorker:
    """The acting replica."""
    made = new_worker("first")
    await made.acting.renew()
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
        return [event.kind.value for _, event in await reader.read(block_ms=100)]

    return kinds
