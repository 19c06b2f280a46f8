"""Limits are exact while 64 callers race through two replicas of every service."""

import asyncio
from collections import Counter
from uuid import uuid4

import httpx
import pytest
from driving import Agent, Body, Platform, Tenant, checked, lane, problem
from stacks import stranger

CALLERS = 64


async def register(platform: Platform, raw: str) -> httpx.Response:
    """From an address of its own, so that no ban shortens the race."""
    body = {"bootstrap_token": raw, "name": f"racer-{uuid4()}"}
    async with stranger(platform.stack) as client:
        return await client.post("/api/v1/platform-agents/register", json=body)


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize(("plan", "limit"), [("free", 10), ("starter", 50)])
async def test_a_plans_queue_never_holds_more_than_its_limit(platform: Platform, plan: str, limit: int) -> None:
    tenant, capability = await platform.tenant(plan), lane()
    answers = await asyncio.gather(*(tenant.submit(capabilities=[capability]) for _ in range(CALLERS)))
    assert statuses(answers) == {201: limit, 429: CALLERS - limit}
    for answer in answers:
        if answer.status_code == 429:
            refused = problem(answer, 429, "queue_full")
            assert (refused["limit"], refused["size"]) == (limit, limit)
    places = [answer.json()["queue"]["position"] for answer in answers if answer.status_code == 201]
    assert max(places) == limit


async def test_a_place_in_a_full_queue_is_free_again_after_a_cancel(platform: Platform) -> None:
    tenant, capability = await platform.tenant("free"), lane()
    submitted = [await tenant.submitted(capabilities=[capability]) for _ in range(10)]
    problem(await tenant.submit(capabilities=[capability]), 429, "queue_full")
    await tenant.cancel(submitted[0]["job"]["id"])
    again = await asyncio.gather(*(tenant.submit(capabilities=[capability]) for _ in range(8)))
    assert statuses(again) == {201: 1, 429: 7}


@pytest.mark.parametrize(("plan", "cap"), [("free", 2), ("starter", 5)])
async def test_a_plans_concurrent_jobs_are_never_more_than_its_cap(platform: Platform, plan: str, cap: int) -> None:
    tenant, capability = await platform.tenant(plan), lane()
    agents = await asyncio.gather(*(platform.agent(capability) for _ in range(CALLERS)))
    jobs = [(await tenant.submitted(capabilities=[capability]))["job"]["id"] for _ in range(10)]
    first = await asyncio.gather(*(agent.jobs(timeout=1) for agent in agents))
    assert sum(map(len, first)) == cap
    watching = asyncio.create_task(most_held_at_once(platform, tenant))
    for agent, held in zip(agents, first, strict=True):
        for job in held:
            await agent.finish(job)
    left = set(jobs) - {job["id"] for held in first for job in held}
    finished = await asyncio.gather(*(work(agent, left) for agent in agents))
    assert await stopped(watching) <= cap
    assert sum(map(len, finished)) == len(jobs) - cap
    assert {(await tenant.job(job))["status"] for job in jobs} == {"completed"}


async def work(agent: Agent, left: set[str]) -> list[str]:
    """Polls until none of the jobs is left; holds each for a moment. Returns those it had."""
    had: list[str] = []
    while left:
        for job in await agent.jobs(timeout=1):
            assert (await agent.report(job, "ack")).status_code == 200
            assert (await agent.report(job, "progress", {"progress": 50})).status_code == 200
            assert (await agent.report(job, "result", {"status": "completed"})).status_code == 200
            had.append(job["id"])
            left.remove(job["id"])
    return had


async def most_held_at_once(platform: Platform, tenant: Tenant) -> int:
    """Asks for ever how many of the tenant's jobs agents hold; when it is cancelled, the most it saw."""
    most = 0
    try:
        while True:
            told = await platform.http.get(f"/api/v1/admin/tenants/{tenant.id}", headers=platform.admin)
            most = max(most, checked(told)["tenant"]["usage"]["running"])
    except asyncio.CancelledError:
        return most


async def stopped(watching: asyncio.Task[int]) -> int:
    watching.cancel()
    return await watching


@pytest.mark.parametrize("uses", [1, 5])
async def test_a_bootstrap_token_registers_exactly_as_many_agents_as_it_has_uses(platform: Platform, uses: int) -> None:
    raw = await platform.bootstrap_token(max_uses=uses)
    answers = await asyncio.gather(*(register(platform, raw) for _ in range(CALLERS)))
    assert statuses(answers) == {201: uses, 401: CALLERS - uses}
    told = await platform.http.get("/api/v1/admin/bootstrap-tokens?limit=200", headers=platform.admin)
    (token,) = (one for one in checked(told)["tokens"] if one["token_prefix"] == raw[:6])
    assert (token["status"], token["current_uses"]) == ("exhausted", uses)


async def test_parallel_submissions_with_one_idempotency_key_make_one_job(platform: Platform) -> None:
    tenant, capability = await platform.tenant(), lane()
    key = {"Idempotency-Key": str(uuid4())}
    answers = await asyncio.gather(*(tenant.submit(key, capabilities=[capability]) for _ in range(5)))
    assert statuses(answers).keys() <= {201, 409}
    first = {answer.json()["job"]["id"] for answer in answers if answer.status_code == 201}
    assert len(first) == 1
    assert await jobs_of(tenant) == 1
    repeated = checked(await tenant.submit(key, capabilities=[capability]))
    assert {repeated["job"]["id"]} == first


async def test_the_same_idempotency_key_of_another_tenant_is_another_job(platform: Platform) -> None:
    key = {"Idempotency-Key": str(uuid4())}
    numbers = [checked(await (await platform.tenant()).submit(key, capabilities=[lane()]))["job"]["id"] for _ in "ab"]
    assert numbers[0] != numbers[1]


async def jobs_of(tenant: Tenant) -> int:
    told: Body = checked(await tenant.http.get("/api/v1/platform-jobs", headers=tenant.headers))
    return len(told["jobs"])
