"""A client of the tests' Redis, settings as a service has them, and Redis and Postgres that are away."""

import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from platform_server.kit.settings import ServiceSettings
from platform_server.signals.connection import connect
from platform_server.store.connection import Pool, open_pool
from world import JOB_TOKEN_KEYS, JWT_SECRET


@pytest.fixture
def settings(database: str, redis: str) -> ServiceSettings:
    return ServiceSettings(database_url=database, redis_url=redis, jwt_secret=JWT_SECRET, job_token_keys=JOB_TOKEN_KEYS)


@pytest.fixture
async def client(redis: str) -> AsyncIterator[Redis]:
    async with connect(redis) as opened:
        yield opened


@pytest.fixture
async def absent() -> AsyncIterator[Redis]:
    """A Redis that is away: connections are refused."""
    async with connect("redis://127.0.0.1:1/0") as opened:
        yield opened


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a Redis that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


@pytest.fixture
async def no_pool() -> AsyncIterator[Pool]:
    """The pool of a Postgres that is away."""
    async with open_pool("postgresql://postgres@127.0.0.1:1/none", size=1, name="tests") as opened:
        yield opened
