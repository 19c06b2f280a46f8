"""Tenants in Postgres."""

from uuid import uuid4

import pytest

from platform_core.domain.errors import NotFound, TenantSuspended, TenantUnknown
from platform_core.domain.ids import SYSTEM_TENANT, TenantId
from platform_core.domain.plans import PLANS, Plan
from platform_server.store import tenants
from platform_server.store.connection import Conn


async def made(conn: Conn, name: str = "Acme", *, plan: str = "pro", status: str = "active") -> TenantId:
    tenant = TenantId(uuid4())
    assert await tenants.put(conn, tenant, name=name, plan=plan, status=status)
    return tenant


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
async def test_standing_tells_the_plans_limits(conn: Conn, plan: Plan) -> None:
    standing = await tenants.standing(conn, await made(conn, plan=plan.name))
    assert (standing.plan, standing.max_concurrent_jobs, standing.max_queue_size) == (
        plan.name,
        plan.max_concurrent_jobs,
        plan.max_queue_size,
    )


async def test_unknown_and_suspended_tenants_have_no_standing(conn: Conn) -> None:
    with pytest.raises(TenantUnknown):
        await tenants.standing(conn, TenantId(uuid4()))
    with pytest.raises(TenantUnknown):
        await tenants.standing(conn, SYSTEM_TENANT)
    with pytest.raises(TenantSuspended):
        await tenants.standing(conn, await made(conn, status="suspended"))


async def test_put_changes_what_is_there(conn: Conn) -> None:
    tenant = await made(conn)
    assert not await tenants.put(conn, tenant, name="Acme 2", plan="free", status="suspended")
    now = await tenants.find(conn, tenant)
    assert (now.name, now.plan, now.status, now.max_concurrent_jobs) == ("Acme 2", "free", "suspended", 2)


async def test_pages_are_newest_first_without_the_system_tenant(conn: Conn) -> None:
    ids = [await made(conn, f"tenant {n}") for n in range(3)]
    first = await tenants.page(conn, limit=2)
    rest = await tenants.page(conn, after=(first[-1].created_at, first[-1].id), limit=2)
    assert [t.id for t in [*first, *rest]] == ids[::-1]
    with pytest.raises(NotFound):
        await tenants.find(conn, SYSTEM_TENANT)


async def test_a_tenant_goes_with_everything_of_its_own(conn: Conn) -> None:
    tenant = await made(conn)
    job = uuid4()
    for number in range(3):
        await conn.execute(
            """
            INSERT INTO commands (id, tenant_id, type, priority, status, payload, queued_at)
            VALUES ($1, $2, 'collect', 'low', 'queued', '{}', now())
            """,
            uuid4(),
            tenant,
        )
        await conn.execute(
            "INSERT INTO idempotency_keys (tenant_id, key, body_hash, job_id, position) VALUES ($1, $2, '', $3, 1)",
            tenant,
            str(number),
            job,
        )
    await conn.execute("INSERT INTO tenant_queues VALUES ($1)", tenant)
    assert (await tenants.find(conn, tenant)).queued == 3

    await tenants.lock(conn, tenant)
    ended = await tenants.delete_open_jobs(conn, tenant)
    assert [e.holder for e in ended] == [None, None, None]
    more = [await tenants.delete_some_history(conn, tenant, limit=2) for _ in range(3)]
    assert more == [True, True, False]
    await tenants.delete(conn, tenant)
    with pytest.raises(NotFound):
        await tenants.lock(conn, tenant)
