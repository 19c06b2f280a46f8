"""The archive beside those who write jobs at the same time."""

import asyncio
from datetime import timedelta

from platform_core.domain.ids import TenantId
from platform_server.store import archive, tenants
from platform_server.store.connection import acquire, transaction
from world import World, eventually


async def test_a_job_that_is_archived_while_its_tenant_is_deleted_goes_with_it(world: World) -> None:
    tenant = await world.tenant()
    await world.submit(tenant, count=5)
    await world.execute("UPDATE commands SET status = 'completed', completed_at = now()")
    async with transaction(world.pool) as conn:
        moved, _ = await archive.move_finished(conn, archive.FRONT, after=timedelta(0), limit=10)
        assert moved == 5
        deleting = asyncio.create_task(delete_history(world, tenant))
        await eventually(lambda: waits_for_a_lock(world))
    await deleting
    assert await world.pool.fetchval("SELECT count(*) FROM jobs") == 0


async def test_retention_deletes_the_oldest_first_and_no_more_than_it_may(world: World) -> None:
    jobs = sorted(await world.submit(await world.tenant(), count=3))
    for days, job in enumerate(jobs):
        await world.execute(
            "UPDATE commands SET status = 'completed', completed_at = now() - $2::interval WHERE id = $1",
            job,
            timedelta(days=days),
        )
    assert await world.archived() == 3
    async with acquire(world.pool) as conn:
        left = []
        while await archive.delete_old(conn, after=timedelta(hours=12), limit=1):
            left.append([row["id"] for row in await conn.fetch("SELECT id FROM finished_commands ORDER BY id")])
    assert left == [jobs[:2], jobs[:1]]


async def delete_history(world: World, tenant: TenantId) -> None:
    async with acquire(world.pool) as conn:
        while await tenants.delete_some_history(conn, tenant, limit=3):
            pass


async def waits_for_a_lock(world: World) -> bool:
    waiting = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return bool(await world.pool.fetchval(f"SELECT EXISTS ({waiting})"))
