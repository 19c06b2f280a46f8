"""The function `submit_jobs`: whom it waits for, and what it reads."""

import asyncio
from itertools import cycle
from random import Random

import asyncpg
import pytest

from platform_core.domain.ids import TenantId
from platform_core.domain.scheduling import Requirement
from platform_server.kit.clock import new_id
from platform_server.store import submissions
from platform_server.store.connection import Conn, Pool, acquire
from platform_server.store.submissions import Accepted
from world import World, eventually, new_job

QUEUED, OVER = 200, 3000


async def test_it_needs_read_committed(world: World, pool: Pool) -> None:
    tenant = await world.tenant()
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read"):
        with pytest.raises(asyncpg.RaiseError, match="READ COMMITTED"):
            await submissions.submit(conn, [new_job(tenant)])


@pytest.mark.parametrize(
    "shared", [True, False], ids=["the same new tenants", "each a tenant, the same new requirements"]
)
async def test_batches_never_wait_for_each_other_in_a_circle(
    world: World, pool: Pool, other_pool: Pool, shared: bool
) -> None:
    """A deadlock's victim is tried again by the service; here it would be an error."""
    draw, doors = Random(7), cycle([pool, other_pool])
    tenants = [await world.tenant() for _ in range(16)]
    requirements = [Requirement(frozenset({str(n)}), "nuclei", None) for n in range(200)]

    async def submit(tenant: TenantId) -> list[Accepted | Exception]:
        callers = draw.choices(tenants, k=200) if shared else [tenant] * 200
        asked = [new_job(t, requirement=r) for t, r in zip(callers, draw.sample(requirements, 200), strict=True)]
        async with acquire(next(doors)) as conn:
            return await submissions.submit(conn, asked)

    async with pool.acquire() as gate, gate.transaction():
        await gate.execute("LOCK TABLE tenant_queues IN EXCLUSIVE MODE")
        submitted = [asyncio.create_task(submit(tenant)) for tenant in tenants]
        await eventually(lambda: all_wait(other_pool, count=16))
    answers = await asyncio.gather(*submitted)
    assert all(isinstance(answer, Accepted) for batch in answers for answer in batch)


async def all_wait(pool: Pool, *, count: int) -> bool:
    asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    waiting: int = await pool.fetchval(asked)
    return waiting == count


async def test_it_reads_what_waits_even_by_a_plan_that_was_made_for_empty_tables(conn: Conn) -> None:
    tenant = TenantId(new_id())
    await conn.execute("INSERT INTO tenants (id, name, plan) VALUES ($1, 'acme', 'enterprise')", tenant)
    await submissions.submit(conn, [new_job(tenant)])
    await fill(conn, tenant)
    before = await reads(conn)
    (answer,) = await submissions.submit(conn, [new_job(tenant)])
    assert isinstance(answer, Accepted)
    assert answer.position == QUEUED + 2
    whole, rows = [after - earlier for after, earlier in zip(await reads(conn), before, strict=True)]
    assert whole == 0
    assert rows < QUEUED + 50


async def fill(conn: Conn, tenant: TenantId) -> None:
    """The tenant's queue, many jobs of its that are over, many other tenants and lanes."""
    await conn.execute(
        "INSERT INTO commands (id, tenant_id, type, priority, status, payload, queued_at, completed_at)"
        " SELECT gen_random_uuid(), $1, 'collect', 'normal', CASE WHEN n > $2 THEN 'completed' ELSE 'queued' END, '{}',"
        " now(), CASE WHEN n > $2 THEN now() END FROM generate_series(1, $2 + $3::int) AS n",
        tenant, QUEUED, OVER,
    )  # fmt: skip
    await conn.execute(
        "WITH others AS (INSERT INTO tenants (id, name, plan) SELECT gen_random_uuid(), 'acme', 'free'"
        " FROM generate_series(1, $1::int) RETURNING id),"
        " queues AS (INSERT INTO tenant_queues SELECT id FROM others),"
        " asked AS (INSERT INTO requirements (capabilities, tool, preferred_region) SELECT ARRAY[n::text], '', ''"
        " FROM generate_series(1, $1::int) AS n RETURNING id)"
        " INSERT INTO lanes (tenant_id, requirement_id, base) SELECT $2, id, 500 FROM asked",
        OVER, tenant,
    )  # fmt: skip


async def reads(conn: Conn) -> tuple[int, int]:
    """How often this transaction read a table whole, but for the four plans, and how many rows it found by an index."""
    row = await conn.fetchrow(
        "SELECT sum(seq_scan)::int AS whole, sum(idx_tup_fetch)::int AS rows FROM pg_stat_xact_user_tables"
        " WHERE relname <> 'plans'"
    )
    assert row is not None
    return row["whole"], row["rows"]
