"""The connection to Redis. Whatever Redis does, a caller waits a second at most and goes on without it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError

# Named here, so that who only hands it on needs no Redis library.
Client = Redis

TROUBLE: Final = (RedisError, OSError, TimeoutError)

_CONNECTIONS: Final = 50


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[Redis]:
    """A client that connects when it is first used; closed at the end."""
    # A pool that lets callers wait: the plain one refuses the 101st at once, and a flood would look like a Redis away.
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=1.0,
        socket_timeout=1.0,
        socket_connect_timeout=1.0,
        health_check_interval=15,
    )
    client = Redis.from_pool(pool)
    try:
        yield client
    finally:
        await client.aclose()


async def is_up(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except TROUBLE:
        return False
