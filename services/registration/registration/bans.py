"""Bans: put back into Redis when it lost them, lifted in Postgres and Redis alike."""

from platform_server.signals.limiter import Limiter
from platform_server.store import bans
from platform_server.store.connection import Pool, acquire
from registration.administrators import Administrator, acting


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
