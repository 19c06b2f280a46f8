"""Bans: written to Postgres when the limiter sets them, put back into Redis when it lost them, lifted in both."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from platform_server.signals.limiter import Limiter
from platform_server.store import bans
from platform_server.store.connection import Pool, acquire
from registration.administrators import Administrator, acting

NewBans = deque[tuple[bans.Network, timedelta]]


@asynccontextmanager
async def kept(pool: Pool, new: NewBans) -> AsyncIterator[None]:
    """Before the answer goes out, write down whom the limiter has banned in the body."""
    try:
        yield
    finally:
        while new:
            network, duration = new.popleft()
            async with acquire(pool) as conn:
                await bans.ban(conn, network, duration=duration)


async def restore(pool: Pool, limiter: Limiter) -> int:
    """Ban again in Redis what Postgres remembers: Redis may have been flushed."""
    async with acquire(pool) as conn:
        await bans.delete_over(conn)
        live = await bans.live(conn)
    await limiter.restore([(ban.network, ban.left) for ban in live])
    return 0


async def lift(pool: Pool, limiter: Limiter, by: Administrator, address: bans.Address) -> None:
    """End the ban that covers the address. Raises NotFound."""
    async with acting(pool, by, "ban.lift", address) as (conn, _):
        await bans.lift(conn, address)
    await limiter.lift(address)


async def cleanup(limiter: Limiter) -> int:
    """Drop the counters that are over."""
    limiter.cleanup()
    return 0
