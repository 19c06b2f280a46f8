"""Fairness on the live system: shares by weight, the quiet tenant under a flood, islands. Lengths are scaled down."""

import asyncio
from collections.abc import Sequence

import asyncpg
from contest import WEIGHTS, Contest, Entrant, contest
from door import Tenant
from pacing import quantile
from published import served_by_published_order
from sitting import Site

# 20 minutes and 30 seconds, 200 times shorter.
LONG, SHORT = 6.0, 0.15
FLOOD = 1000
# The spare hands of the flood: a job of each at once stays below an enterprise tenant's cap.
FLOOD_AGENTS, FLOOD_SLOTS, FLOOD_SECONDS = 4, 8, 0.1


async def fairness(site: Site) -> None:
    await _weights(site)
    await _mixed_lengths(site)
    await _quiet_tenant(site)
    await _island(site)


async def _weights(site: Site) -> None:
    entrants = [Entrant(plan, 0.25) for plan in ("free", "free", "starter", "starter", "pro", "pro", "enterprise")]
    async with contest(site, entrants, agents=3, slots=7) as at:
        held = await _settled(at, warm=site.length(15.0, 2.0), seconds=site.length(60.0, 4.0))
    served = [slot_seconds / WEIGHTS[entrant.plan] for slot_seconds, entrant in zip(held, entrants, strict=True)]
    site.note({"jain": jain(served), "share_error": error(held, entrants), "shares_rounds": _rounds(held, entrants)})


async def _mixed_lengths(site: Site) -> None:
    entrants = [Entrant("starter", seconds) for seconds in (LONG, LONG, SHORT, SHORT)]
    async with contest(site, entrants, agents=2, slots=5) as at:
        held = await _settled(at, warm=site.length(40.0, 2.0), seconds=site.length(200.0, 4.0))
    site.note({"share_error_mixed_lengths": error(held, entrants), "jain_mixed_lengths": jain(held)})


async def _quiet_tenant(site: Site) -> None:
    """A tenant keeps critical jobs queued; after each thousand of its jobs another submits one of low priority."""
    entrants = [Entrant("enterprise", FLOOD_SECONDS, "critical"), Entrant("free", FLOOD_SECONDS, "low")]
    await _lift_rate_limit(site)
    async with contest(site, entrants, agents=FLOOD_AGENTS, slots=FLOOD_SLOTS) as at:
        flooding, quiet = at.tenants
        await at.feeder.feed([flooding])
        await asyncio.sleep(site.length(10.0, 2.0))
        seconds = site.length(240.0, 4.0)
        before = at.feeder.ended[flooding.id]
        # The short form has no time for thousands.
        await _submit_one_to_so_many(at, quiet, flooding, site.length(FLOOD, FLOOD // 20), seconds=seconds)
        rate = (at.feeder.ended[flooding.id] - before) / seconds
        await asyncio.sleep(2)
        waits = await _waits(site, quiet)
    round_seconds = sum(max(1.0, WEIGHTS[entrant.plan] / 2) for entrant in entrants) / rate
    site.note({"flood_jobs_per_second": rate, "round_ms": round_seconds * 1000, "quiet_jobs": len(waits)})
    site.note({"quiet_wait_p99_ms": quantile(waits, 0.99) * 1000})
    site.note({"quiet_wait_over_round": quantile(waits, 0.99) / round_seconds})
    site.note({"quiet_served_by_published_order": served_by_published_order(rate, seconds=seconds, flood=FLOOD)})


async def _island(site: Site) -> None:
    """The same three tenants, before and after others come whom their agents cannot serve."""
    warm, seconds = site.length(15.0, 1.0), site.length(90.0, 3.0)
    entrants = [Entrant(plan, 0.2) for plan in ("starter", "pro", "pro")]
    async with contest(site, entrants, agents=2, slots=5) as at:
        alone = await _settled(at, warm=warm, seconds=seconds)
        crowd = [Entrant("pro", 0.2)] * site.length(40, 5)
        async with (
            contest(site, [Entrant("enterprise", 0.2)], agents=1, slots=2) as island,
            contest(site, crowd, agents=0, slots=0) as unservable,
        ):
            await island.feeder.feed(island.tenants)
            await unservable.feeder.feed(unservable.tenants)
            await asyncio.sleep(warm)
            beside = await at.held(seconds=seconds)
    changes = [abs((b / sum(beside)) / (a / sum(alone)) - 1) for a, b in zip(alone, beside, strict=True)]
    site.note({"island_share_error": max(changes)})


async def _settled(at: Contest, *, warm: float, seconds: float) -> list[float]:
    """Everybody is fed; what is learnt of lengths in the first while does not count."""
    await at.feeder.feed(at.tenants)
    await asyncio.sleep(warm)
    return await at.held(seconds=seconds)


async def _submit_one_to_so_many(at: Contest, quiet: Tenant, flooding: Tenant, many: int, *, seconds: float) -> None:
    due = at.feeder.ended[flooding.id] + many
    end = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < end:
        if at.feeder.ended[flooding.id] >= due:
            due += many
            await at.feeder.submit(quiet)
        await asyncio.sleep(0.02)


async def _waits(site: Site, tenant: Tenant) -> list[float]:
    """Seconds in the queue of every job of the tenant; one that still waits counts as long as it has."""
    conn = await asyncpg.connect(site.stack.database)
    try:
        return [row["waited"] for row in await conn.fetch(_WAITED, tenant.id)]
    finally:
        await conn.close()


async def _lift_rate_limit(site: Site) -> None:
    """A flood of a hundred submissions a second is none: the plan may be given more."""
    conn = await asyncpg.connect(site.stack.database)
    await conn.execute("UPDATE plans SET submit_rate = 10000, submit_burst = 10000 WHERE name = 'enterprise'")
    await conn.close()


def jain(served: Sequence[float]) -> float:
    """Jain's index: 1 when all are served alike, 1/n when one gets everything."""
    squares = sum(one * one for one in served)
    return sum(served) ** 2 / (len(served) * squares) if squares else 0.0


def error(held: Sequence[float], entrants: Sequence[Entrant]) -> float:
    """How far the tenant that is farthest from its share by weight is from it."""
    weights = [WEIGHTS[entrant.plan] for entrant in entrants]
    due = [sum(held) * weight / sum(weights) for weight in weights]
    return max(abs(got / should - 1) for got, should in zip(held, due, strict=True))


def _rounds(held: Sequence[float], entrants: Sequence[Entrant]) -> float:
    """How many rounds of jobs of one length that was."""
    return sum(held) / entrants[0].seconds / sum(max(1.0, WEIGHTS[entrant.plan] / 2) for entrant in entrants)


_WAITED = """
SELECT extract(epoch FROM coalesce(assigned_at, clock_timestamp()) - queued_at)::float8 AS waited
FROM jobs
WHERE tenant_id = $1::text::uuid
"""
