"""Redis makes things quick, Postgres decides: what happens when one of them is away."""

from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient
from submitting import JOBS, STATISTICS, TENANTS, NewTenant, Serve, Tenant, counted, job_id, problem

from platform_stack.processes import free_port
from world import World, bearer


@pytest.fixture
async def without_redis(serve: Serve) -> AsyncIterator[AsyncClient]:
    async with serve(redis_url=f"redis://127.0.0.1:{free_port()}/0") as http:
        yield http


async def test_without_redis_everything_goes_on(
    new_tenant: NewTenant, without_redis: AsyncClient, world: World
) -> None:
    tenant = await new_tenant("free", http=without_redis)
    told = await tenant.submitted(key="k")
    assert told["status"] == "queued"
    assert await tenant.submitted(key="k") == told
    await world.submit(tenant.id, count=9)
    problem(await tenant.submit(), 429, "queue_full")
    assert (await tenant.job(told["job"]["id"]))["position"] == 1
    assert (await tenant.call("POST", f"{JOBS}/{job_id(told)}/cancel")).json()["job"]["status"] == "cancelled"
    await world.hand_out(await world.agent(), count=2)


async def test_without_postgres_every_call_is_503_and_says_when_to_come_back(serve: Serve, tenant: Tenant) -> None:
    async with serve(database_url=f"postgresql://nobody@127.0.0.1:{free_port()}/none") as http:
        administrator = {"Authorization": f"Bearer {bearer()}"}
        answers = [await tenant.call(method, path, through=http) for method, path in TENANTS]
        answers.append(await http.get(STATISTICS, headers=administrator))
        for answer in answers:
            problem(answer, 503, "unavailable")
            assert int(answer.headers["Retry-After"]) >= 1
        assert (await http.get("/api/docs")).status_code == 200


async def test_a_submission_that_could_not_be_stored_is_not_counted_as_accepted(tenant: Tenant, world: World) -> None:
    await world.execute("ALTER TABLE commands RENAME TO away")
    before = counted("platform_jobs_submitted_total", type="scan", status="accepted")
    with pytest.raises(Exception, match="commands"):
        await tenant.submit()
    assert counted("platform_jobs_submitted_total", type="scan", status="accepted") == before
