"""The cost of a claim of 64 as queue and tenants grow, beside the query that the specification's schema suggests."""

import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import asyncpg
from sitting import Site

from platform_core.domain.ids import AgentId
from platform_ops import migrate
from platform_server.store.claiming import Claiming
from platform_server.store.claims import Offer
from platform_server.store.connection import open_pool
from platform_stack import engines

BATCH = 64


@dataclass(frozen=True, slots=True)
class Size:
    queued: int
    tenants: int

    @property
    def name(self) -> str:
        return f"{_short(self.queued)}_queued_{_short(self.tenants)}_tenants"


# The first two are compared with each other; the last is the largest.
FULL = (Size(1_000, 10), Size(1_000_000, 10), Size(100_000, 10), Size(1_000_000, 1_000), Size(1_000_000, 10_000))
SHORT = (Size(1_000, 10), Size(10_000, 10), Size(10_000, 1_000))


async def claim_cost(site: Site) -> None:
    few, many, *others = site.length(FULL, SHORT)
    rounds = site.length(40, 5)
    async with _loaded(site, few) as small, _loaded(site, many) as large:
        # In turns: what the machine does beside it decides nothing.
        async with _claimer(small) as at_small, _claimer(large) as at_large:
            took = [(await at_small(), await at_large()) for _ in range(rounds)]
        for size, dsn, times in zip((few, many), (small, large), zip(*took, strict=True), strict=True):
            site.note({f"claim_ms_{size.name}": statistics.median(times)})
            site.note({f"straightforward_ms_{size.name}": await _straightforward_ms(dsn)})
    site.ratio("claim_1m_over_1k", f"claim_ms_{many.name}", f"claim_ms_{few.name}")
    for size in others:
        async with _loaded(site, size) as dsn:
            async with _claimer(dsn) as claim:
                site.note({f"claim_ms_{size.name}": statistics.median([await claim() for _ in range(rounds)])})
            site.note({f"straightforward_ms_{size.name}": await _straightforward_ms(dsn)})
    most = others[-1].name
    site.ratio("straightforward_over_claim_at_1m", f"straightforward_ms_{most}", f"claim_ms_{most}")


@asynccontextmanager
async def _loaded(site: Site, size: Size) -> AsyncIterator[str]:
    """A database with so many jobs, analysed as autovacuum would have done by then."""
    name = f"claims_{uuid4().hex[:8]}"
    engines.create_database(site.stack.postgres, name)
    dsn = site.stack.postgres.dsn(name)
    migrate.up(dsn)
    conn = await asyncpg.connect(dsn)
    await conn.execute(_FLEET)
    await conn.execute(_TENANTS, size.tenants)
    await conn.execute(_LANES)
    await conn.execute(_JOBS, size.queued, timeout=600)
    await conn.execute(_HEADS)
    await conn.execute("VACUUM ANALYZE", timeout=600)
    await conn.execute("CHECKPOINT", timeout=600)
    await conn.close()
    yield dsn
    conn = await asyncpg.connect(site.stack.postgres.dsn())
    await conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await conn.close()


@asynccontextmanager
async def _claimer(dsn: str) -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """Claims once, and tells the milliseconds; after each claim its jobs end, and as many come anew."""
    agents = await _agents(dsn)
    async with open_pool(dsn, size=1, name="claim") as pool:
        claiming = Claiming(pool, token_hash=_token_hash, region_patience=timedelta(seconds=30))

        async def claim() -> None:
            claimed = await claiming.claim([Offer(agent, 1, 1, float(n)) for n, agent in enumerate(agents)])
            if len(claimed.handed_out) != BATCH:
                raise RuntimeError(f"{len(claimed.handed_out)} handed out, not {BATCH}")

        async def took() -> float:
            milliseconds = await _milliseconds(claim)
            await pool.execute(_END_AND_REPLACE)
            return milliseconds

        for _ in range(2):
            await took()
        # What its first claims changed from nothing: autovacuum's analyse, a minute later.
        await pool.execute("ANALYZE tenant_turns, lane_heads, commands")
        await pool.expire_connections()
        # And the plans of the new connection.
        await took()
        yield took


async def _straightforward_ms(dsn: str) -> float:
    conn = await asyncpg.connect(dsn)
    try:
        return statistics.median([await _milliseconds(lambda: conn.fetch(_STRAIGHTFORWARD)) for _ in range(5)])
    finally:
        await conn.close()


async def _milliseconds(do: Callable[[], Awaitable[object]]) -> float:
    start = time.perf_counter()
    await do()
    return (time.perf_counter() - start) * 1000


async def _agents(dsn: str) -> list[AgentId]:
    conn = await asyncpg.connect(dsn)
    try:
        return [row["id"] for row in await conn.fetch("SELECT id FROM agents")]
    finally:
        await conn.close()


def _token_hash(_job: object, _attempt: int) -> str:
    return "0" * 64


def _short(n: int) -> str:
    for unit, name in ((1_000_000, "m"), (1_000, "k")):
        if n >= unit:
            return f"{n // unit}{name}"
    return str(n)


_FLEET = f"""
INSERT INTO requirements (capabilities, tool, preferred_region) VALUES ('{{nuclei}}', 'nuclei', '');
INSERT INTO profiles (capabilities, tools, region) VALUES ('{{nuclei}}', '{{nuclei}}', 'local');
INSERT INTO agents (id, tenant_id, name, max_concurrent, is_platform_agent)
SELECT uuidv7(), '00000000-0000-0000-0000-000000000001', 'agent-' || n, 100, true FROM generate_series(1, {BATCH}) AS n;
INSERT INTO agent_presence (agent_id, online, profile_id, last_seen_at)
SELECT id, true, 1, clock_timestamp() FROM agents;
"""
_TENANTS = """
INSERT INTO tenants (id, name, plan)
SELECT gen_random_uuid(), 'tenant ' || n, (ARRAY['free', 'starter', 'pro', 'enterprise'])[1 + n % 4]
FROM generate_series(1, $1::int) AS n
"""
_LANES = """
INSERT INTO lanes (tenant_id, requirement_id, base)
SELECT id, 1, base FROM tenants CROSS JOIN unnest('{1000,750,500,250}'::int[]) AS base WHERE NOT is_system
"""
_JOBS = """
INSERT INTO commands (
    id, tenant_id, type, priority, status, payload, tool, capabilities, lane_id, is_platform_job, queued_at
)
SELECT
    uuidv7(), lane.tenant_id, 'scan',
    CASE lane.base WHEN 1000 THEN 'critical' WHEN 750 THEN 'high' WHEN 500 THEN 'normal' ELSE 'low' END,
    'queued', '{"tool": "nuclei", "target": "example.com"}', 'nuclei', '{nuclei}', lane.id, true,
    clock_timestamp() - random() * interval '1 hour'
FROM (SELECT *, row_number() OVER (ORDER BY id) - 1 AS n FROM lanes) AS lane
JOIN generate_series(0, $1::int - 1) AS job ON job % (SELECT count(*) FROM lanes) = lane.n
"""
_HEADS = """
INSERT INTO lane_heads (lane_id, tenant_id, requirement_id, base, queued_at, at)
SELECT lanes.id, lanes.tenant_id, 1, lanes.base, min(queued_at), extract(epoch FROM min(queued_at))
FROM commands
JOIN lanes ON lanes.id = commands.lane_id
GROUP BY lanes.id
"""
_END_AND_REPLACE = """
WITH ended AS (
    UPDATE commands
    SET status = 'completed', slot_held = false, completed_at = clock_timestamp()
    WHERE status = 'assigned'
    RETURNING tenant_id, type, priority, payload::text AS payload, tool, capabilities, lane_id
), anew AS (
    INSERT INTO commands (
        id, tenant_id, type, priority, status, payload, tool, capabilities, lane_id, is_platform_job, queued_at
    )
    SELECT
        uuidv7(), tenant_id, type, priority, 'queued', payload::json, tool, capabilities, lane_id, true,
        clock_timestamp()
    FROM ended
    RETURNING lane_id, queued_at
)
INSERT INTO lane_wakes (lane_id, queued_at) SELECT lane_id, min(queued_at) FROM anew GROUP BY lane_id
"""
# Filter, sort by the published priority, take the first.
_STRAIGHTFORWARD = """
SELECT id
FROM commands
WHERE status = 'queued'
ORDER BY
    queue_priority(
        CASE priority WHEN 'critical' THEN 1000 WHEN 'high' THEN 750 WHEN 'normal' THEN 500 ELSE 250 END,
        clock_timestamp() - queued_at
    ) DESC,
    queued_at
LIMIT 1
"""
