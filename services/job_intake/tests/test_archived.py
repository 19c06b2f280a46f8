"""A tenant sees no difference between its jobs that are over and those that left for the archive."""

import logging

import pytest
from httpx import AsyncClient
from submitting import JOBS, STATISTICS, Body, NewTenant, Tenant, job_id, problem, scan

from world import World, bearer

OVER = ["completed", "failed", "cancelled", "expired"]


async def ended(tenant: Tenant, world: World, status: str, **asked: str) -> str:
    """A job that is over, and still beside those that are not."""
    told = await tenant.submitted(scan() | asked)
    await world.execute(
        "UPDATE commands SET status = $2, completed_at = now(), error = 'why' WHERE id = $1", job_id(told), status
    )
    return str(told["job"]["id"])


@pytest.mark.parametrize("status", OVER)
async def test_an_archived_job_is_shown_as_it_was(tenant: Tenant, world: World, status: str) -> None:
    job = await ended(tenant, world, status)
    before = await tenant.job(job)
    assert await world.archived() == 1
    assert await tenant.job(job) == before


async def test_lists_go_through_both_newest_first(tenant: Tenant, world: World) -> None:
    made: list[str] = []
    for n in range(8):
        made.insert(0, await ended(tenant, world, "completed"))
        if n % 3 == 0:
            await world.archived()
    made.insert(0, (await tenant.submitted())["job"]["id"])
    seen: list[str] = []
    cursor: Body = {}
    while cursor != {"cursor": None}:
        page = (await tenant.call("GET", JOBS, params={"limit": 2, **cursor})).json()
        seen += [job["id"] for job in page["jobs"]]
        cursor = {"cursor": page["next_cursor"]}
    assert seen == made


async def test_filters_hold_for_both(tenant: Tenant, new_tenant: NewTenant, world: World) -> None:
    expected: dict[str, list[str]] = {}
    for _ in range(2):
        for status in OVER:
            expected.setdefault(status, []).insert(0, await ended(tenant, world, status, priority="low"))
            await ended(await new_tenant(), world, status)
        await world.archived()
    recent = await ended(tenant, world, "failed")
    waiting = (await tenant.submitted())["job"]["id"]

    async def listed(**only: str) -> list[str]:
        return [job["id"] for job in (await tenant.call("GET", JOBS, params=only)).json()["jobs"]]

    for status in OVER:
        assert await listed(status=status, priority="low") == expected[status]
    assert await listed(status="failed") == [recent, *expected["failed"]]
    assert await listed(status="queued") == [waiting]
    assert await listed(priority="normal") == [waiting, recent]


async def test_a_failed_job_is_tried_again_and_no_archived_job_is_cancelled(tenant: Tenant, world: World) -> None:
    jobs = {status: await ended(tenant, world, status) for status in OVER}
    assert await world.archived() == len(OVER)
    for status, job in jobs.items():
        problem(await tenant.call("POST", f"{JOBS}/{job}/cancel"), 409, "job_over")
        answer = await tenant.call("POST", f"{JOBS}/{job}/retry")
        if status == "failed":
            assert (answer.status_code, answer.json()["job"]["retry_of"]) == (201, job)
        else:
            problem(answer, 409, "job_over")


async def test_a_submission_that_is_repeated_names_the_archived_job(tenant: Tenant, world: World) -> None:
    first = await tenant.submitted(key="once")
    await world.execute("UPDATE commands SET status = 'completed', completed_at = now()")
    assert await world.archived() == 1
    assert await tenant.submitted(key="once") == first


async def test_another_tenants_archived_job_is_absent_and_a_security_event(
    tenant: Tenant, new_tenant: NewTenant, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    job = await ended(tenant, world, "completed")
    await world.archived()
    with caplog.at_level(logging.WARNING):
        problem(await (await new_tenant()).call("GET", f"{JOBS}/{job}"), 404, "not_found")
    assert "security.job.access_denied" in caplog.text


async def test_statistics_of_the_last_hour_count_archived_jobs(http: AsyncClient, tenant: Tenant, world: World) -> None:
    await world.submit(tenant.id, count=20)
    await world.hand_out(await world.agent(), count=20)
    await world.execute(
        "UPDATE commands SET queued_at = assigned_at - interval '7 s', status = 'completed', slot_held = false,"
        " completed_at = now()"
    )

    async def told() -> Body:
        answer = await http.get(STATISTICS, headers={"Authorization": f"Bearer {bearer()}"})
        stats: Body = answer.json()["stats"]
        return stats

    before = await told()
    assert (before["wait_p50_seconds"], before["done_per_minute"]) == (7, 2)
    assert await world.archived() == 20
    assert await told() == before
