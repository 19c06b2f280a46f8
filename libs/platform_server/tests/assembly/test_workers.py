"""One replica of a worker acts: what it knows of that, says of it, and may write."""

import logging
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from platform_core.domain.errors import Unavailable
from platform_server.assembly.workers import Acting, lease_of
from platform_server.store.connection import Pool
from platform_server.store.leases import NotActing, while_acting


def replica(pool: Pool, *, worker: str = "sweeper") -> Acting:
    return Acting(pool, lease_of(worker, seconds=15))


async def run_out(pool: Pool) -> None:
    await pool.execute("UPDATE worker_leases SET expires_at = clock_timestamp()")


async def may_write(acting: Acting) -> bool:
    try:
        async with acting.transaction() as conn:
            return await conn.fetchval("SELECT true") is True
    except NotActing:
        return False


async def test_one_of_two_replicas_acts_and_each_worker_has_its_own(pool: Pool) -> None:
    first, second, other = replica(pool), replica(pool), replica(pool, worker="checker")
    for acting in (first, second, other):
        await acting.renew()
    assert [acting.held for acting in (first, second, other)] == [True, False, True]
    assert [await may_write(acting) for acting in (first, second, other)] == [True, False, True]


async def test_a_lease_is_renewed_three_times_before_it_ends(pool: Pool) -> None:
    assert replica(pool).renewed_every == timedelta(seconds=5)


async def test_when_the_leader_says_nothing_any_more_the_next_one_acts(pool: Pool) -> None:
    first, second = replica(pool), replica(pool)
    await first.renew()
    await run_out(pool)
    await second.renew()
    assert (await may_write(first), await may_write(second)) == (False, True)
    await first.renew()
    assert not first.held


async def test_a_replica_that_gives_up_lets_the_next_one_act_at_once(pool: Pool) -> None:
    first, second = replica(pool), replica(pool)
    await first.renew()
    await first.give_up()
    await second.renew()
    assert (first.held, second.held) == (False, True)


async def test_giving_up_what_another_one_holds_takes_nothing_from_it(pool: Pool) -> None:
    first, second = replica(pool), replica(pool)
    await first.renew()
    await second.give_up()
    assert await may_write(first)


async def test_taking_and_losing_a_lease_is_logged_and_a_loss_counted(
    pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = replica(pool, worker="logged"), replica(pool, worker="logged")
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            await first.renew()
        await run_out(pool)
        await second.renew()
        await first.renew()
    assert [m for m in caplog.messages if m.startswith("lease")] == ["lease_taken", "lease_taken", "lease_lost"]
    assert REGISTRY.get_sample_value("platform_lease_expirations_total", {"worker": "logged"}) == 1


async def test_a_replica_that_cannot_ask_does_not_act(no_pool: Pool) -> None:
    acting = replica(no_pool)
    with pytest.raises(Unavailable):
        await acting.renew()
    assert not acting.held
    await acting.give_up()


async def test_a_step_of_a_replica_that_does_not_act_does_nothing(pool: Pool) -> None:
    acting = replica(pool)

    async def step() -> int:
        async with acting.transaction():
            return 7

    assert await while_acting(step)() == 0
    await acting.renew()
    assert await while_acting(step)() == 7


async def test_nobody_takes_over_while_a_leader_writes(pool: Pool) -> None:
    acting = replica(pool)
    await acting.renew()
    free = "SELECT EXISTS (SELECT FROM worker_leases FOR NO KEY UPDATE SKIP LOCKED)"
    async with acting.transaction():
        assert await pool.fetchval(free) is False
    assert await pool.fetchval(free) is True
