"""Agents are shared, tenants are apart: what an agent knows of a tenant it knows from the job."""

from driving import Platform, lane, problem


async def test_one_agent_serves_any_tenant_and_is_told_with_each_job_whose_it_is(platform: Platform) -> None:
    capability = lane()
    agent = await platform.agent(capability, max_concurrent=2)
    tenants = [await platform.tenant(), await platform.tenant()]
    submitted = {(await t.submitted(capabilities=[capability]))["job"]["id"]: str(t.id) for t in tenants}
    jobs = [*await agent.jobs(), *await agent.jobs()]
    assert {job["id"]: job["tenant_id"] for job in jobs} == submitted


async def test_a_tenant_sees_and_ends_its_own_jobs_only(platform: Platform) -> None:
    tenant, other = await platform.tenant(), await platform.tenant()
    job = (await tenant.submitted(capabilities=[lane()]))["job"]["id"]
    listed = await other.http.get("/api/v1/platform-jobs", headers=other.headers)
    assert listed.json()["jobs"] == []
    problem(await other.http.get(f"/api/v1/platform-jobs/{job}", headers=other.headers), 404, "not_found")
    problem(await other.cancel(job), 404, "not_found")
    assert (await tenant.job(job))["status"] == "queued"


async def test_an_agent_cannot_write_about_a_job_that_another_one_holds(platform: Platform) -> None:
    capability = lane()
    holder, other = await platform.agent(capability), await platform.agent()
    tenant = await platform.tenant()
    await tenant.submitted(capabilities=[capability])
    (job,) = await holder.jobs()
    for what, body in (("ack", None), ("progress", {"progress": 1}), ("result", {"status": "completed"})):
        problem(await other.report(job, what, body), 403, "job_access_denied")
    assert (await tenant.job(job["id"]))["status"] == "assigned"
