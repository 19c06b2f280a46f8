"""Agent health on a Postgres and a Redis of the test's own: its checker, and the service in process."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from itertools import chain, repeat
from typing import Any

import pytest
from httpx import AsyncClient, Response
from redis.asyncio import Redis

from agent_health.app import create_app
from agent_health.checker import HealthChecker
from agent_health.reachability import Reachability
from agent_health.settings import Settings
from platform_core.domain import tokens
from platform_core.domain.ids import AgentId
from platform_core.wire.events import AgentEvent
from platform_server.assembly.announcer import Announcer
from platform_server.assembly.workers import Acting
from platform_server.kit.serve import Runtime
from platform_server.signals.connection import connect
from platform_server.signals.streams import Reader, Stream
from platform_server.store.connection import Pool
from platform_server.store.leases import Lease
from world import JOB_TOKEN_KEYS, JWT_SECRET, in_process

HEARTBEAT = "/api/v1/platform-agent/heartbeat"


@pytest.fixture
def settings(database: str, redis: str) -> Settings:
    return Settings(database_url=database, redis_url=redis, jwt_secret=JWT_SECRET, job_token_keys=JOB_TOKEN_KEYS)


@pytest.fixture
async def client(redis: str) -> AsyncIterator[Redis]:
    async with connect(redis) as opened:
        yield opened


@pytest.fixture
async def http(settings: Settings) -> AsyncIterator[AsyncClient]:
    """The service in process; a client without credentials."""
    async with in_process(create_app(settings, Runtime())) as opened:
        yield opened


@pytest.fixture
def new_key(world: Any) -> Callable[[AgentId], Awaitable[str]]:
    """Gives an agent one more key."""

    async def make(agent: AgentId) -> str:
        raw = tokens.new_agent_key(secrets.token_bytes(32))
        await world.execute(
            "INSERT INTO agent_keys (key_hash, agent_id, key_prefix) VALUES ($1, $2, $3)",
            tokens.secret_hash(raw),
            agent,
            tokens.key_prefix(raw),
        )
        return raw

    return make


@pytest.fixture
async def agent(world: Any) -> AgentId:
    """Online, and seen just now."""
    made: AgentId = await world.agent()
    return made


@pytest.fixture
async def beat(
    agent: AgentId, new_key: Callable[[AgentId], Awaitable[str]], http: AsyncClient
) -> Callable[..., Awaitable[Response]]:
    """A heartbeat of that agent."""
    key = await new_key(agent)

    async def send(**body: object) -> Response:
        return await http.post(HEARTBEAT, json=body, headers={"X-API-Key": key})

    return send


@pytest.fixture
def new_checker(pool: Pool, client: Redis) -> Callable[[str], HealthChecker]:
    """One more replica, under that name; agents could reach it for an hour."""

    def make(holder: str) -> HealthChecker:
        reachability = Reachability([], every=timedelta(hours=1), clock=chain([0.0], repeat(3600.0)).__next__)
        acting = Acting(pool, Lease("agent-health", holder, timedelta(seconds=15)))
        return HealthChecker(acting, Announcer(client), reachability, stale_after=timedelta(seconds=60))

    return make


@pytest.fixture
async def checker(new_checker: Callable[[str], HealthChecker]) -> HealthChecker:
    """The acting replica."""
    made = new_checker("first")
    await made.acting.renew()
    return made


@pytest.fixture
def agent_events(client: Redis) -> Callable[[], Awaitable[list[tuple[str, AgentId]]]]:
    """All events on the stream of agents since the last look."""
    reader = Reader(client, Stream.AGENTS, AgentEvent, group="tests", consumer="tests")

    async def told() -> list[tuple[str, AgentId]]:
        # The first read makes the group.
        read = [*await reader.read(block_ms=1), *await reader.read(block_ms=1)]
        return [(event.kind.value, AgentId(event.agent_id)) for _, event in read]

    return told


@pytest.fixture
def is_online(world: Any) -> Callable[[AgentId], Awaitable[bool]]:
    async def ask(agent: AgentId) -> bool:
        online: bool = await world.pool.fetchval("SELECT online FROM agent_presence WHERE agent_id = $1", agent)
        return online

    return ask
