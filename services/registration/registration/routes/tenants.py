"""Tenants. A handler decodes, calls, encodes."""

from datetime import datetime
from uuid import UUID

from starlette.responses import Response

from platform_core.wire import tenants as wire
from platform_core.wire.base import PageQuery
from platform_server.kit import pages
from platform_server.kit.bodies import answer, no_content, read
from platform_server.store import tenants as store
from platform_server.store.connection import acquire
from registration import tenants
from registration.administrators import Administrator
from registration.routes.requests import Request, tenant_id


async def put(request: Request, by: Administrator) -> Response:
    asked = await read(request, wire.PutTenant)
    tenant, made = await tenants.put(request.state["pool"], by, tenant_id(request), asked)
    return answer(wire.TenantAnswer(tenant=view(tenant)), 201 if made else 200)


async def delete(request: Request, by: Administrator) -> Response:
    at = request.state
    await tenants.remove(at["pool"], at["announcer"], by, tenant_id(request))
    return no_content()


async def get(request: Request, _: Administrator) -> Response:
    async with acquire(request.state["pool"]) as conn:
        tenant = await store.find(conn, tenant_id(request))
    return answer(wire.TenantAnswer(tenant=view(tenant)))


async def listing(request: Request, _: Administrator) -> Response:
    asked = pages.query(request, PageQuery)
    async with acquire(request.state["pool"]) as conn:
        found = await store.page(conn, after=pages.after(asked, tuple[datetime, UUID]), limit=asked.limit + 1)
    page = pages.cut(found, asked, lambda tenant: (tenant.created_at, tenant.id))
    return answer(wire.TenantList(tenants=tuple(view(t) for t in page.items), next_cursor=page.next_cursor))


def view(tenant: store.Tenant) -> wire.Tenant:
    return wire.Tenant(
        id=tenant.id,
        name=tenant.name,
        plan=wire.PlanName(tenant.plan),
        status=wire.TenantStatus(tenant.status),
        limits=wire.Limits(
            max_concurrent_jobs=tenant.max_concurrent_jobs,
            max_queue_size=tenant.max_queue_size,
            submit_rate=tenant.submit_rate,
            submit_burst=tenant.submit_burst,
        ),
        usage=wire.Usage(running=tenant.running, queued=tenant.queued),
        created_at=tenant.created_at,
        updated_at=tenant.updated_at,
    )
