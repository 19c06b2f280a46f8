"""The claim under races, and what a hand-out writes."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import cycle

import pytest

from platform_core.domain.attempts import AttemptOutcome
from platform_core.domain.errors import Unavailable
from platform_core.domain.ids import AgentId, TenantId
from platform_core.domain.jobs import JobStatus, Priority
from platform_core.domain.scheduling import Profile
from platform_server.store import agents, attempts, claims, jobs, polls
from platform_server.store.claiming import Claiming
from platform_server.store.claims import Claimed, Offer
from platform_server.store.connection import Conn, Pool, open_pool, transaction
from world import World, eventually, token

PATIENCE = timedelta(seconds=30)
PROFILE = Profile(frozenset({"nuclei"}), frozenset({"nuclei"}), "")


async def poll(pool: Pool, agent: AgentId, *, max_jobs: int = 1) -> Claimed:
    async with transaction(pool) as conn:
        profile = await claims.intern_profile(conn, PROFILE)
        await polls.note(conn, {agent: profile})
    claiming = Claiming(pool, token_hash=token, region_patience=PATIENCE)
    return await claiming.claim([Offer(agent, profile, max_jobs, 0.0)])


async def on_plan(world: World, plan: str) -> TenantId:
    tenant = await world.tenant()
    await world.execute("UPDATE tenants SET plan = $2 WHERE id = $1", tenant, plan)
    return tenant


async def turn(world: World, tenant: TenantId) -> float:
    stored: float | None = await world.pool.fetchval("SELECT turn FROM tenant_turns WHERE tenant_id = $1", tenant)
    return stored or 0.0


async def test_64_claims_at_once_exceed_no_tenants_cap_and_no_agents_max_concurrent(
    world: World, pool: Pool, other_pool: Pool
) -> None:
    caps = {await on_plan(world, "free"): 2, await on_plan(world, "free"): 2, await on_plan(world, "starter"): 5}
    for tenant in caps:
        await world.submit(tenant, count=10)
    scanners = [await world.agent(f"scanner-{n}") for n in range(5)]
    await world.execute("UPDATE agents SET max_concurrent = 3")
    doors, callers = cycle([pool, other_pool]), cycle(scanners)
    await asyncio.gather(*(poll(next(doors), next(callers), max_jobs=2) for _ in range(64)))

    held = await pool.fetch("SELECT tenant_id, count(*) FROM commands WHERE status = 'assigned' GROUP BY tenant_id")
    assert {row["tenant_id"]: row["count"] for row in held} == caps
    loads = await pool.fetch("SELECT count(*) FROM commands WHERE slot_held GROUP BY platform_agent_id")
    assert max(row["count"] for row in loads) <= 3


async def test_64_claims_at_once_fill_an_agents_slots_and_no_more(world: World, pool: Pool, other_pool: Pool) -> None:
    await world.submit(await world.tenant(), count=20)
    scanner = await world.agent()
    await world.execute("UPDATE agents SET max_concurrent = 7")
    doors = cycle([pool, other_pool])
    claimed = await asyncio.gather(*(poll(next(doors), scanner, max_jobs=2) for _ in range(64)))
    handed_out = [h.job for one in claimed for h in one.handed_out]
    assert len(handed_out) == len(set(handed_out)) == 7


async def test_a_lowered_plan_hands_out_nothing_until_the_tenant_is_below(world: World, pool: Pool) -> None:
    tenant, scanner = await on_plan(world, "starter"), await world.agent()
    await world.submit(tenant, count=5)
    held = await world.hand_out(scanner, count=3)
    await world.execute("UPDATE tenants SET plan = 'free'")
    assert not (await poll(pool, scanner)).handed_out
    for h in held[:2]:
        await world.cancel(h)
    assert len((await poll(pool, scanner, max_jobs=5)).handed_out) == 1


Act = Callable[[Conn, AgentId], Awaitable[None]]


async def disable(conn: Conn, agent: AgentId) -> None:
    await agents.disable(conn, agent, reason="compromised")


@pytest.mark.parametrize("act", [disable, agents.drain, agents.delete])
async def test_a_disabled_draining_or_deleted_agent_is_given_nothing(world: World, pool: Pool, act: Act) -> None:
    await world.submit(await world.tenant())
    scanner = await world.agent()
    async with transaction(pool) as conn:
        await act(conn, scanner)
    claimed = await poll(pool, scanner)
    assert not claimed.handed_out
    assert claimed.left_waiting


async def test_a_lane_that_a_cancel_emptied_hides_none_of_the_jobs_that_are_left_waiting(
    world: World, pool: Pool
) -> None:
    at_its_cap, another, scanner = await on_plan(world, "free"), await world.tenant(), await world.agent()
    await world.submit(at_its_cap, count=3)
    await world.hand_out(scanner, count=2)
    (job,) = await world.submit(another)
    async with transaction(pool) as conn:
        await jobs.cancel(conn, another, job)
    claimed = await poll(pool, scanner)
    assert not claimed.handed_out
    assert claimed.left_waiting


async def test_the_attempt_rises_with_every_hand_out_put_backs_included(world: World, pool: Pool) -> None:
    (job,) = await world.submit(await world.tenant())
    scanner = await world.agent()
    for attempt in (1, 2, 3):
        (handed_out,) = await world.hand_out(scanner)
        row = await world.job(job)
        assert (handed_out.attempt, row["attempt"], row["auth_token_hash"]) == (attempt, attempt, token(job, attempt))
        async with transaction(pool) as conn:
            await attempts.requeue_of_agent(conn, scanner, outcome=AttemptOutcome.PUT_BACK, reason="the poll has gone")
    assert (await world.job(job))["retry_count"] == 0


async def test_a_job_token_lives_until_hand_out_plus_timeout_plus_10_minutes(world: World) -> None:
    (job,) = await world.submit(await world.tenant())
    await world.execute("UPDATE commands SET timeout_seconds = 7200")
    await world.hand_out(await world.agent())
    row = await world.job(job)
    assert row["auth_token_expires_at"] - row["assigned_at"] == timedelta(hours=2, minutes=10)


async def test_a_job_that_was_cancelled_under_the_claims_hands_is_not_charged(
    world: World, pool: Pool, other_pool: Pool
) -> None:
    tenant, scanner = await world.tenant(), await world.agent()
    (job,) = await world.submit(tenant)

    async def a_claim_waits() -> bool:
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0"
        return int(await pool.fetchval(blocked)) == 1

    async with transaction(pool) as conn:
        await jobs.cancel(conn, tenant, job)
        claiming = asyncio.create_task(poll(other_pool, scanner))
        await eventually(a_claim_waits)
    assert not (await claiming).handed_out
    assert (await world.job(job))["status"] == JobStatus.CANCELLED
    assert await turn(world, tenant) == 0.0


async def test_a_hand_out_is_charged_and_refunded_when_it_goes_back(world: World, pool: Pool) -> None:
    tenant, scanner = await world.tenant(), await world.agent()
    await world.submit(tenant)
    await world.hand_out(scanner)
    assert await turn(world, tenant) == 2 / 50
    async with transaction(pool) as conn:
        await attempts.requeue_of_agent(conn, scanner, outcome=AttemptOutcome.PUT_BACK, reason="the poll has gone")
    await world.execute("UPDATE agents SET admin_state = 'draining'")
    await poll(pool, scanner)
    assert await turn(world, tenant) == 0.0


async def test_a_suspended_tenants_jobs_wait(world: World, pool: Pool) -> None:
    await world.submit(await world.tenant())
    await world.execute("UPDATE tenants SET status = 'suspended' WHERE NOT is_system")
    assert not (await poll(pool, await world.agent())).handed_out


async def test_a_claim_hands_out_in_published_order_and_of_equals_the_older(world: World) -> None:
    """51 minutes make up for what lies between normal and critical, and not for more: the bonus is capped."""
    tenant = await world.tenant()
    older, newer = [(await world.submit(tenant))[0] for _ in range(2)]
    (critical,) = await world.submit(tenant, priority=Priority.CRITICAL)
    await world.aged(older, timedelta(minutes=51))
    handed_out = await world.hand_out(await world.agent(), count=3)
    assert [h.job for h in handed_out] == [older, critical, newer]


async def test_a_claim_that_waits_too_long_for_the_one_before_it_leaves_its_connection_usable(
    world: World, database: str
) -> None:
    async with open_pool(database, size=1, name="impatient") as impatient:
        async with impatient.acquire() as conn:
            await conn.execute("SET lock_timeout = '50ms'")
        scanner = await world.agent()
        await world.submit(await world.tenant())
        async with transaction(world.pool) as blocking:
            await blocking.execute(claims.SQL["lock"])
            with pytest.raises(Unavailable):
                await poll(impatient, scanner)
        assert len((await poll(impatient, scanner)).handed_out) == 1
