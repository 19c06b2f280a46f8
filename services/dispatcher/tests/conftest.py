"""The dispatcher on a real socket, with a Postgres and a Redis of the test's own."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
import pytest
from dispatching import NEVER, Agent, Dispatcher, Wakes, hears, serving
from httpx import AsyncClient
from redis.asyncio import Redis

from dispatcher.settings import Settings
from platform_core.domain import tokens
from platform_server.signals.connection import connect
from world import JOB_TOKEN_KEYS, JWT_SECRET, World


@pytest.fixture
def settings(database: str, redis: str) -> Settings:
    """Only wake-ups make a held poll look."""
    return Settings(
        database_url=database,
        redis_url=redis,
        jwt_secret=JWT_SECRET,
        job_token_keys=JOB_TOKEN_KEYS,
        listen_port=0,
        sweep_seconds=NEVER,
    )


@pytest.fixture
def serve(settings: Settings) -> Callable[..., AbstractAsyncContextManager[Dispatcher]]:
    """Starts one more, with some settings changed."""
    return lambda **changed: serving(msgspec.structs.replace(settings, **changed))


@pytest.fixture
async def dispatcher(settings: Settings, redis_client: Redis) -> AsyncIterator[Dispatcher]:
    """One that hears what is published."""
    async with serving(settings) as running:
        await hears(redis_client)
        yield running


@pytest.fixture
async def redis_client(redis: str) -> AsyncIterator[Redis]:
    async with connect(redis) as opened:
        yield opened


@pytest.fixture
def wakes(redis_client: Redis) -> Wakes:
    return Wakes(redis_client)


@pytest.fixture
async def new_agent(world: World) -> AsyncIterator[Callable[..., Awaitable[Agent]]]:
    """Makes an agent that calls the given dispatcher."""
    clients: list[AsyncClient] = []

    async def make(at: Dispatcher, name: str = "scanner-1", **described: Any) -> Agent:
        key = tokens.new_agent_key(secrets.token_bytes(32))
        number = await world.agent(name, key=key, **described)
        client = AsyncClient(base_url=at.url, headers={"X-API-Key": key}, timeout=20, trust_env=False)
        clients.append(client)
        return Agent(number, client, key)

    yield make
    for client in clients:
        await client.aclose()


@pytest.fixture
async def agent(dispatcher: Dispatcher, new_agent: Callable[..., Awaitable[Agent]]) -> Agent:
    return await new_agent(dispatcher)
