"""Bans that the limiter sets are written to Postgres; what Postgres could not take is kept for later."""

from datetime import timedelta
from ipaddress import ip_network

import pytest

from platform_core.domain.errors import Unavailable
from platform_server.assembly.bans import NewBans
from platform_server.store import bans
from platform_server.store.connection import Pool, acquire

HOME = ip_network("203.0.113.7/32")
MINUTES = timedelta(minutes=15)


async def kept(pool: Pool) -> list[str]:
    async with acquire(pool) as conn:
        return [str(ban.network) for ban in await bans.live(conn)]


async def test_a_ban_is_written_down_before_the_answer(pool: Pool) -> None:
    await NewBans(pool).add(HOME, MINUTES)
    assert await kept(pool) == ["203.0.113.7/32"]


async def test_with_postgres_away_the_ban_does_not_fail_the_request(no_pool: Pool) -> None:
    new = NewBans(no_pool)
    await new.add(HOME, MINUTES)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await new.keep()


async def test_keeping_them_again_writes_nothing_twice(pool: Pool) -> None:
    new = NewBans(pool)
    await new.add(HOME, MINUTES)
    assert await new.keep() == 0
    assert len(await kept(pool)) == 1
