"""The lock of the claim: held by a session from its look to its write, and never longer than that session lives."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from platform_core.domain.scheduling import Profile
from platform_server.store import claims
from platform_server.store.claiming import Claiming
from platform_server.store.claims import Offer
from platform_server.store.connection import Pool, open_pool, transaction
from world import World, eventually, token

PROFILE = Profile(frozenset({"nuclei"}), frozenset({"nuclei"}), "")


def claiming(pool: Pool) -> Claiming:
    return Claiming(pool, token_hash=token, region_patience=timedelta(seconds=30))


@pytest.fixture
async def pools(database: str) -> AsyncIterator[list[Pool]]:
    """Of two dispatchers; Postgres takes a session for paused after a second."""
    paused = timedelta(seconds=1)
    async with (
        open_pool(database, size=1, name="one", paused_after=paused) as one,
        open_pool(database, size=1, name="two", paused_after=paused) as two,
    ):
        yield [one, two]


async def offer(world: World, name: str = "scanner") -> Offer:
    agent = await world.agent(name)
    async with transaction(world.pool) as conn:
        return Offer(agent, await claims.intern_profile(conn, PROFILE), 1, 0.0)


async def locked(world: World) -> bool:
    return await world.pool.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory')") is True


async def unlocked(world: World) -> bool:
    return not await locked(world)


async def lock(pool: Pool) -> None:
    """As a claim does that then stops."""
    async with pool.acquire() as conn:
        begin = claims.SQL["lock_and_begin"]
        await claims.claim_at(conn, [], slots={}, token_hash=token, patience=timedelta(0), begin=begin)


async def test_dispatchers_that_claim_at_once_hand_out_each_job_once(world: World, pools: list[Pool]) -> None:
    jobs = await world.submit(await world.tenant(), count=20)
    both = [claiming(pool) for pool in pools]
    offers = [await offer(world, f"scanner-{n}") for n in range(20)]
    claimed = await asyncio.gather(*(both[n % 2].claim([one]) for n, one in enumerate(offers)))
    assert Counter(h.job for one in claimed for h in one.handed_out) == Counter(jobs)


async def test_the_lock_is_let_go_after_a_claim(world: World, pools: list[Pool]) -> None:
    await claiming(pools[0]).claim([await offer(world)])
    await eventually(lambda: unlocked(world))


async def test_a_claim_that_is_cancelled_lets_the_lock_go(world: World, pools: list[Pool]) -> None:
    (job,) = await world.submit(await world.tenant())
    async with transaction(world.pool) as cancelling:
        # The claim will wait for the job's row, with the lock in its hands.
        await cancelling.execute("SELECT FROM commands WHERE id = $1 FOR UPDATE", job)
        claim = asyncio.create_task(claiming(pools[0]).claim([await offer(world)]))
        await eventually(lambda: locked(world))
        claim.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claim
        await eventually(lambda: unlocked(world))
    (handed_out,) = (await claiming(pools[1]).claim([await offer(world, "another")])).handed_out
    assert handed_out.job == job


async def test_a_paused_holder_of_the_lock_stops_the_others_for_a_while_only(world: World, pools: list[Pool]) -> None:
    await world.submit(await world.tenant())
    await lock(pools[0])
    assert await locked(world)
    (handed_out,) = (await claiming(pools[1]).claim([await offer(world)])).handed_out
    assert handed_out.attempt == 1
