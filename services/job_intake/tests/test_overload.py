"""More submissions than the store can take: refused before they cost anything; what was let in is served."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from httpx import AsyncClient
from submitting import JOBS, NewTenant, Serve, Tenant, counted, problem

from platform_server.store.connection import transaction
from world import World, eventually


@asynccontextmanager
async def stalled(world: World, tenant: Tenant) -> AsyncIterator[None]:
    """Nothing of the tenant can be committed."""
    await tenant.submitted()
    async with transaction(world.pool) as conn:
        await conn.execute("SELECT FROM tenant_queues WHERE tenant_id = $1 FOR UPDATE", tenant.id)
        yield


async def turned_away(http: AsyncClient) -> bool:
    """A submission by nobody: it is refused before it is asked who it is."""
    answer = await http.post(JOBS)
    if answer.status_code == 401:
        return False
    problem(answer, 503, "unavailable")
    assert 1 <= int(answer.headers["Retry-After"]) <= 3
    return True


async def test_while_a_commit_does_not_come_through_others_are_turned_away(
    world: World, serve: Serve, new_tenant: NewTenant
) -> None:
    async with serve(submission_patience_ms=200) as http:
        tenant = await new_tenant(http=http)
        async with stalled(world, tenant):
            let_in = asyncio.create_task(tenant.submit())
            await eventually(lambda: turned_away(http))
            assert (await http.post(f"{JOBS}/00000000-0000-0000-0000-000000000007/retry")).status_code == 503
            assert (await tenant.call("GET", JOBS)).status_code == 200
        assert (await let_in).status_code == 201
        await tenant.submitted()


async def test_so_many_are_let_in_at_once(world: World, serve: Serve, new_tenant: NewTenant) -> None:
    async with serve(max_submissions_in_work=3, submission_patience_ms=60_000) as http:
        tenant = await new_tenant(http=http)
        async with stalled(world, tenant):
            let_in = [asyncio.create_task(tenant.submit()) for _ in range(3)]
            await eventually(lambda: turned_away(http))
        assert {(await one).status_code for one in let_in} == {201}


async def test_who_is_turned_away_is_counted(world: World, serve: Serve, new_tenant: NewTenant) -> None:
    async with serve(max_submissions_in_work=1) as http:
        tenant = await new_tenant(http=http)
        async with stalled(world, tenant):
            let_in = asyncio.create_task(tenant.submit())
            await eventually(lambda: turned_away(http))
            early = counted("platform_submissions_turned_away_total")
            rejected = counted("platform_jobs_submitted_total", type="unknown", status="rejected")
            assert await turned_away(http)
            assert counted("platform_submissions_turned_away_total") == early + 1
            assert counted("platform_jobs_submitted_total", type="unknown", status="rejected") == rejected + 1
        await let_in
