"""What an administrator does to an agent bites within a second, at every replica."""

import asyncio
import time

import httpx
from driving import Agent, Body, Platform, eventually, lane, problem

WITHIN_SECONDS = 1.0


async def held_poll(platform: Platform, agent: Agent) -> asyncio.Task[httpx.Response]:
    """A poll of half a minute, once a dispatcher has seen it, which holds it from then on."""

    async def last_seen() -> str:
        return str((await platform.described(agent.id))["agent"]["last_seen_at"])

    async def seen_again() -> bool:
        return await last_seen() != before

    before = await last_seen()
    polling = asyncio.create_task(agent.poll(timeout=30))
    await eventually(seen_again)
    return polling


async def ends_empty_at_once(polling: asyncio.Task[httpx.Response]) -> None:
    start = time.monotonic()
    answer = await polling
    assert (answer.status_code, answer.json()) == (200, {"jobs": []})
    assert time.monotonic() - start < WITHIN_SECONDS


async def refused_everywhere(agent: Agent, status: int, code: str) -> None:
    """By both dispatchers and both replicas of agent-health, from a second later on."""
    await asyncio.sleep(WITHIN_SECONDS)
    for _ in range(4):
        problem(await agent.poll(timeout=0), status, code)
        problem(await agent.heartbeat(), status, code)


async def running_job(platform: Platform, agent: Agent, capability: str) -> Body:
    """A job that the agent acknowledged."""
    await (await platform.tenant()).submitted(capabilities=[capability])
    (job,) = await agent.jobs()
    assert (await agent.report(job, "ack")).status_code == 200
    return job


async def test_disabling_ends_polls_refuses_the_key_and_gives_the_jobs_back(platform: Platform) -> None:
    capability = lane()
    agent = await platform.agent(capability, max_concurrent=2)
    await running_job(platform, agent, capability)
    polling = await held_poll(platform, agent)
    assert (await platform.tell(agent.id, "disable")).json()["agent"]["status"] == "disabled"
    await ends_empty_at_once(polling)
    (job,) = await (await platform.agent(capability)).jobs()
    assert job["attempt"] == 2
    await refused_everywhere(agent, 403, "agent_disabled")


async def test_enabling_takes_effect_within_a_second(platform: Platform) -> None:
    agent = await platform.agent(lane())
    await platform.tell(agent.id, "disable")
    problem(await agent.poll(timeout=0), 403, "agent_disabled")
    await platform.tell(agent.id, "enable")
    await asyncio.sleep(WITHIN_SECONDS)
    for _ in range(4):
        assert (await agent.poll(timeout=0)).status_code == 200


async def test_draining_gives_nothing_new_and_lets_the_running_job_finish(platform: Platform) -> None:
    capability = lane()
    agent = await platform.agent(capability, max_concurrent=2)
    job = await running_job(platform, agent, capability)
    await agent.heartbeat(running_jobs=[job["id"]])
    polling = await held_poll(platform, agent)
    assert (await platform.tell(agent.id, "drain")).json()["agent"]["status"] == "draining"
    await ends_empty_at_once(polling)
    tenant = await platform.tenant()
    waiting = (await tenant.submitted(capabilities=[capability]))["job"]["id"]
    assert await agent.jobs(timeout=1) == []
    assert (await agent.report(job, "result", {"status": "completed"})).status_code == 200
    await platform.tell(agent.id, "enable")
    (after,) = await agent.jobs(timeout=5)
    assert after["id"] == waiting


async def test_deleting_kills_the_key_gives_the_jobs_back_and_frees_the_name(platform: Platform) -> None:
    capability = lane()
    agent = await platform.agent(capability)
    await running_job(platform, agent, capability)
    name = (await platform.described(agent.id))["agent"]["name"]
    path = f"/api/v1/admin/platform-agents/{agent.id}"
    assert (await platform.http.delete(path, headers=platform.admin)).status_code == 204
    (job,) = await (await platform.agent(capability, name=name)).jobs()
    assert job["attempt"] == 2
    problem(await platform.http.get(path, headers=platform.admin), 404, "not_found")
    await asyncio.sleep(WITHIN_SECONDS)
    problem(await agent.poll(timeout=0), 401, "key_invalid")


async def test_a_rotated_key_and_the_one_before_are_both_good_for_a_while(platform: Platform) -> None:
    agent = await platform.agent(lane())
    rotated = (await platform.tell(agent.id, "rotate-key")).json()["api_key"]
    assert rotated != agent.headers["X-API-Key"]
    for key in (rotated, agent.headers["X-API-Key"]):
        assert (await Agent(platform.http, agent.id, {"X-API-Key": key}).poll(timeout=0)).status_code == 200
