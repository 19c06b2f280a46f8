"""Tenants as the operator keeps them: made, changed, removed."""

from platform_core.domain.ids import TenantId
from platform_core.wire.events import ControlKind
from platform_core.wire.tenants import PutTenant
from platform_server.assembly.announcer import Announcer
from platform_server.store import tenants
from platform_server.store.connection import Pool, acquire
from registration.administrators import Administrator, acting

BATCH = 500


async def put(pool: Pool, by: Administrator, tenant: TenantId, asked: PutTenant) -> tuple[tenants.Tenant, bool]:
    """Make the tenant or change it; gives it, and whether it was made."""
    detail = {"name": asked.name, "plan": asked.plan, "status": asked.status}
    async with acting(pool, by, "tenant.put", tenant, detail=detail) as (conn, _):
        made = await tenants.put(conn, tenant, name=asked.name, plan=asked.plan, status=asked.status)
        return await tenants.find(conn, tenant), made


async def remove(pool: Pool, tell: Announcer, by: Administrator, tenant: TenantId) -> None:
    """End its jobs and remove its data. Raises NotFound.

    History goes in batches, each committed: a statement that removes all of it could outlast its time limit. One who
    is interrupted has left a suspended tenant, and may call again.
    """
    async with acting(pool, by, "tenant.delete", tenant) as (conn, _):
        await tenants.lock(conn, tenant)
        await tenants.suspend(conn, tenant)
        ended = await tenants.delete_open_jobs(conn, tenant)
    await tell.stop(ControlKind.CANCEL, ((job.holder, job.id) for job in ended if job.holder is not None))
    await _remove_history(pool, tenant)
    async with acting(pool, by, "tenant.deleted", tenant) as (conn, _):
        # A submission that was judged before the suspension may have come after it.
        await tenants.lock(conn, tenant)
        await tenants.delete_open_jobs(conn, tenant)
        while await tenants.delete_some_history(conn, tenant, limit=BATCH):
            pass
        await tenants.delete(conn, tenant)


async def _remove_history(pool: Pool, tenant: TenantId) -> None:
    async with acquire(pool) as conn:
        while await tenants.delete_some_history(conn, tenant, limit=BATCH):
            pass
