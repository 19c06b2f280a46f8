"""Half the knee under a held snapshot: an idle transaction that keeps every dead row version alive."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
from lifecycles import Field, field
from load import Load
from pacing import quantile
from sitting import Site

# Half the knee, where the run did not look for it.
USUAL_RATE = 200.0


@dataclass(frozen=True, slots=True)
class Tables:
    """Dead row versions of all tables; bytes of those that stay small by vacuum alone, and of the jobs'."""

    dead: float
    hot_bytes: float
    jobs_bytes: float


async def held_snapshot(site: Site) -> None:
    rate = site.figures.get("lifecycles_per_second", 2 * USUAL_RATE) / 2
    calm, held, after = site.length((120.0, 600.0, 60.0), (2.0, 3.0, 2.0))
    async with field(site) as at:
        await _p99(at.load, rate=rate, seconds=site.length(20.0, 1.0))
        without = await _p99(at.load, rate=rate, seconds=calm)
        site.note({"snapshot_jobs_per_second": rate, "delivery_p99_ms_without_snapshot": without})
        before = await _tables(site)
        async with _snapshot(site):
            during = await _p99(at.load, rate=rate, seconds=held)
            then = await _tables(site)
        site.note({"delivery_p99_ms_with_snapshot": during, "held_snapshot_p99_ratio": during / without})
        site.note({"snapshot_dead_tuples": then.dead, "snapshot_hot_bytes_grown": then.hot_bytes - before.hot_bytes})
        site.note({"snapshot_bytes_per_job": (then.jobs_bytes - before.jobs_bytes) / (rate * held)})
        await _recovery(at, rate=rate, seconds=after)


async def _recovery(at: Field, *, rate: float, seconds: float) -> None:
    """The same load after the snapshot has gone."""
    p99 = await _p99(at.load, rate=rate, seconds=seconds)
    tables = await _tables(at.site)
    at.site.note({"delivery_p99_ms_after_snapshot": p99, "dead_tuples_after_snapshot": tables.dead})


async def _p99(load: Load, *, rate: float, seconds: float) -> float:
    load.forget()
    await load.offer(rate=rate, seconds=seconds)
    await load.drained(seconds=30)
    if load.lost() or load.refused:
        print(f"  {load.lost()} lost, {load.refused} refused")
    return quantile(load.latencies_ms(), 0.99)


@asynccontextmanager
async def _snapshot(site: Site) -> AsyncIterator[None]:
    """As a forgotten psql or a backup holds one."""
    conn = await asyncpg.connect(site.stack.database)
    async with conn.transaction(isolation="repeatable_read", readonly=True):
        await conn.fetchval("SELECT count(*) FROM plans")
        yield
    await conn.close()


async def _tables(site: Site) -> Tables:
    # Postgres tells its statistics a second late.
    await asyncio.sleep(2)
    conn = await asyncpg.connect(site.stack.database)
    row = await conn.fetchrow(_TABLES)
    await conn.close()
    assert row is not None
    return Tables(row["dead"], row["hot_bytes"], row["jobs_bytes"])


_TABLES = """
SELECT
    sum(n_dead_tup)::float8 AS dead,
    sum(bytes) FILTER (WHERE NOT of_jobs)::float8 AS hot_bytes,
    sum(bytes) FILTER (WHERE of_jobs)::float8 AS jobs_bytes
FROM (
    SELECT
        n_dead_tup,
        pg_total_relation_size(relid) AS bytes,
        relname IN ('commands', 'finished_commands') AS of_jobs
    FROM pg_stat_user_tables
) AS tables
"""
