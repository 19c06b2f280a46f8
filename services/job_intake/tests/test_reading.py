"""A tenant's jobs, listed and shown: its own and nobody else's."""

import logging
from uuid import uuid4

import pytest
from submitting import JOBS, Body, NewTenant, Tenant, bad_fields, counted, job_id, problem, scan

from platform_core.domain.jobs import JobStatus
from platform_server.store import attempts
from platform_server.store.connection import transaction
from world import World, token


async def test_lists_are_newest_first_and_go_page_by_page(tenant: Tenant) -> None:
    made = [(await tenant.submitted())["job"]["id"] for _ in range(5)]
    seen: list[str] = []
    cursor: Body = {}
    for pages in (2, 2, 1):
        page = (await tenant.call("GET", JOBS, params={"limit": 2, **cursor})).json()
        assert page.keys() == {"jobs", "next_cursor"}
        assert len(page["jobs"]) == pages
        seen += [job["id"] for job in page["jobs"]]
        cursor = {"cursor": page["next_cursor"]}
    assert seen == made[::-1]
    assert cursor == {"cursor": None}
    exact = (await tenant.call("GET", JOBS, params={"limit": 5})).json()
    assert exact["next_cursor"] is None


async def test_a_page_has_50_jobs_when_it_is_not_said_and_at_most_200(new_tenant: NewTenant, world: World) -> None:
    tenant, nobody = await new_tenant(), await new_tenant()
    await world.submit(tenant.id, count=210)
    assert len((await tenant.call("GET", JOBS)).json()["jobs"]) == 50
    for limit in (1, 200):
        assert len((await tenant.call("GET", JOBS, params={"limit": limit})).json()["jobs"]) == limit
    assert (await nobody.call("GET", JOBS)).json() == {"jobs": [], "next_cursor": None}


async def test_a_list_is_filtered_by_status_type_and_priority(tenant: Tenant) -> None:
    low = await tenant.submitted(scan() | {"priority": "low"})
    collect = await tenant.submitted({"type": "collect", "payload": {}})
    over = await tenant.submitted()
    await tenant.call("POST", f"{JOBS}/{over['job']['id']}/cancel")

    async def listed(**only: str) -> list[str]:
        return [job["id"] for job in (await tenant.call("GET", JOBS, params=only)).json()["jobs"]]

    low_id, collect_id, over_id = (told["job"]["id"] for told in (low, collect, over))
    assert await listed(priority="low") == [low_id]
    assert await listed(type="collect") == [collect_id]
    assert await listed(status="cancelled") == [over_id]
    assert await listed(status="queued") == [collect_id, low_id]
    assert await listed(status="queued", type="scan", priority="low") == [low_id]
    assert await listed(status="running") == []


async def test_bad_parameters_are_400_and_all_named(tenant: Tenant) -> None:
    wrong = {"limit": "0", "status": "done", "type": "exec", "priority": "urgent", "sort": "id"}
    assert sorted(bad_fields(await tenant.call("GET", JOBS, params=wrong))) == sorted(wrong)
    for limit in ("201", "-1", "x", "1.5", ""):
        assert bad_fields(await tenant.call("GET", JOBS, params={"limit": limit})) == ["limit"], limit
    for cursor in ("x", "====", "bnVsbA==", "ä", "MQ==", "a" * 5000):
        assert bad_fields(await tenant.call("GET", JOBS, params={"cursor": cursor})) == ["cursor"], cursor


async def test_a_job_shows_its_progress_result_and_attempts(tenant: Tenant, world: World) -> None:
    told = await tenant.submitted()
    agent = await world.agent()
    await world.hand_out(agent)
    held = attempts.Held(job_id(told), agent, 1, token(job_id(told), 1))
    result = '{"findings": [1.0, "ä"],  "summary": null}'
    async with transaction(world.pool) as conn:
        await attempts.ack(conn, [held])
        await attempts.progress(conn, [attempts.ProgressNote(held, 50, "half")])
    running = await tenant.job(told["job"]["id"])
    assert (running["status"], running["progress"], running["message"]) == ("running", 50, "half")
    assert (running["position"], running["platform_agent_id"]) == (None, str(agent))
    async with transaction(world.pool) as conn:
        await attempts.complete(conn, [attempts.Outcome(held, JobStatus.COMPLETED, result, None)])
    answer = await tenant.call("GET", f"{JOBS}/{told['job']['id']}")
    assert result in answer.text
    job = answer.json()["job"]
    assert (job["status"], job["progress"], job["error"]) == ("completed", 100, None)
    (attempt,) = job["attempts"]
    assert (attempt["attempt"], attempt["agent_id"], attempt["outcome"]) == (1, str(agent), "completed")
    assert attempt["ended_at"] == job["completed_at"]


async def test_another_tenants_job_is_as_absent_as_one_that_never_was_and_a_security_event(
    new_tenant: NewTenant, caplog: pytest.LogCaptureFixture
) -> None:
    owner, other = await new_tenant(), await new_tenant()
    job = (await owner.submitted())["job"]["id"]
    for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry")):
        before = counted("security_events_total", event_type="security.job.access_denied")
        absent = problem(await other.call(method, f"{JOBS}/{uuid4()}{path}"), 404, "not_found")
        assert counted("security_events_total", event_type="security.job.access_denied") == before
        caplog.clear()
        with caplog.at_level(logging.WARNING, "security"):
            denied = problem(await other.call(method, f"{JOBS}/{job}{path}"), 404, "not_found")
        assert denied | {"request_id": ""} == absent | {"request_id": ""}
        assert counted("security_events_total", event_type="security.job.access_denied") == before + 1
        (event,) = caplog.records
        assert event.getMessage() == "security.job.access_denied"
        fields = vars(event)["fields"]
        assert (str(fields["job"]), fields["tenant"], fields["reason"]) == (job, other.id, "other_tenant")
    assert (await owner.job(job))["status"] == "queued"
    assert (await other.call("GET", JOBS)).json()["jobs"] == []


async def test_what_is_no_id_or_no_method_is_a_problem_too(tenant: Tenant) -> None:
    problem(await tenant.call("GET", f"{JOBS}/1"), 404, "not_found")
    answer = await tenant.call("PUT", JOBS)
    problem(answer, 405, "method_not_allowed")
    assert {"GET", "POST"} & set(answer.headers["Allow"].replace(" ", "").split(","))
