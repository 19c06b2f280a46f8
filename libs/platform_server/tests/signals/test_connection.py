"""The connection: a second at most, whatever Redis does."""

import asyncio
import socket
import time

from redis.asyncio import Redis

from platform_server.signals.connection import connect, is_up


async def test_is_up(client: Redis, away: Redis) -> None:
    assert await is_up(client)
    assert not await is_up(away)


async def test_a_flood_of_callers_is_no_redis_away(client: Redis) -> None:
    assert all(await asyncio.gather(*(is_up(client) for _ in range(300))))
    assert len(await client.client_list()) <= 50


async def test_a_redis_that_accepts_and_never_answers_holds_nobody_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with connect(f"redis://127.0.0.1:{silent.getsockname()[1]}/0") as client:
            start = time.monotonic()
            assert not await is_up(client)
            assert time.monotonic() - start < 3
