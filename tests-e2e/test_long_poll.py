"""Long polls through the gateway and two dispatchers: quick when there is a job, patient when there is none."""

import asyncio
import time

import pytest
from driving import Agent, Body, Platform, eventually, lane
from stacks import client_of


async def until_held(platform: Platform, agent: Agent) -> None:
    """Until the platform has seen the agent, whose poll it holds from then on."""

    async def seen() -> bool:
        return (await platform.described(agent.id))["agent"]["last_seen_at"] is not None

    await eventually(seen)


@pytest.fixture
async def capability() -> str:
    return lane()


async def test_a_waiting_agent_gets_a_job_when_it_is_submitted(platform: Platform, capability: str) -> None:
    agent, tenant = await platform.agent(capability), await platform.tenant()
    waiting = asyncio.create_task(agent.jobs(timeout=30))
    await until_held(platform, agent)
    start = time.monotonic()
    submitted = await tenant.submitted(capabilities=[capability])
    (job,) = await waiting
    assert job["id"] == submitted["job"]["id"]
    assert time.monotonic() - start < 5


async def test_a_job_that_a_waiting_agent_has_when_the_answer_is_written_is_assigned(
    platform: Platform, capability: str
) -> None:
    """How often that is depends on the machine; that it is true when it is said does not."""
    tenant = await platform.tenant()

    async def assigned() -> Body | None:
        agent = await platform.agent(capability)
        waiting = asyncio.create_task(agent.jobs(timeout=30))
        await until_held(platform, agent)
        submitted = await tenant.submitted(capabilities=[capability])
        (job,) = await waiting
        assert job["id"] == submitted["job"]["id"]
        return submitted if submitted["status"] == "assigned" else None

    told = await eventually(assigned, seconds=30)
    assert told["queue"]["position"] == 0
    assert told["job"]["platform_agent_id"]


async def test_a_poll_without_a_job_is_empty_at_its_timeout(platform: Platform, capability: str) -> None:
    agent = await platform.agent(capability)
    start = time.monotonic()
    answer = await agent.poll(timeout=1.5)
    assert (answer.status_code, answer.json()) == (200, {"jobs": []})
    assert 1.5 <= time.monotonic() - start < 5


async def test_a_poll_of_zero_seconds_looks_once(platform: Platform, capability: str) -> None:
    agent, tenant = await platform.agent(capability), await platform.tenant()
    assert await agent.jobs(timeout=0) == []
    await tenant.submitted(capabilities=[capability])
    assert len(await agent.jobs(timeout=0)) == 1


async def test_one_job_wakes_one_poll(platform: Platform, capability: str) -> None:
    agents = [await platform.agent(capability) for _ in range(8)]
    tenant = await platform.tenant()
    waiting = [asyncio.create_task(agent.jobs(timeout=4)) for agent in agents]
    for agent in agents:
        await until_held(platform, agent)
    await tenant.submitted(capabilities=[capability])
    assert sorted(map(len, await asyncio.gather(*waiting))) == [0] * 7 + [1]


async def test_an_agent_that_leaves_its_poll_loses_no_job(platform: Platform, capability: str) -> None:
    """Whether or not a dispatcher claims for it while it leaves: the job goes to another agent at once."""
    stayer, tenant = await platform.agent(capability), await platform.tenant()
    for _ in range(5):
        await leave_while_polling(platform, await platform.agent(capability))
        number = (await tenant.submitted(capabilities=[capability]))["job"]["id"]
        (job,) = await stayer.jobs(timeout=10)
        assert job["id"] == number
        await stayer.finish(job)
        assert (await tenant.job(number))["retry_count"] == 0


async def leave_while_polling(platform: Platform, agent: Agent) -> None:
    """Polls on a connection of its own, and cuts it while the poll is held."""
    async with client_of(platform.stack) as client:
        leaver = Agent(client, agent.id, agent.headers)
        polling = asyncio.create_task(leaver.poll(timeout=30))
        await until_held(platform, agent)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)


async def test_what_a_poll_names_narrows_what_is_registered_and_never_widens_it(
    platform: Platform, capability: str
) -> None:
    other = lane()
    agent, tenant = await platform.agent(capability, other), await platform.tenant()
    await tenant.submitted(capabilities=[capability])
    assert await agent.jobs(timeout=0, capabilities=[other]) == []
    assert await agent.jobs(timeout=0, capabilities=[other, lane()]) == []
    assert len(await agent.jobs(timeout=0, capabilities=[])) == 1
    unable = await platform.agent(other)
    await tenant.submitted(capabilities=[capability])
    assert await unable.jobs(timeout=0, capabilities=[capability]) == []


async def test_a_scan_goes_only_to_an_agent_that_has_its_tool(platform: Platform, capability: str) -> None:
    tenant = await platform.tenant()
    without, having = await platform.agent(capability), await platform.agent(capability, tools=["gosec"])
    await tenant.submitted(type="scan", payload={"tool": "gosec", "target": "src"}, capabilities=[capability])
    assert await without.jobs(timeout=0) == []
    assert len(await having.jobs(timeout=0)) == 1


async def test_an_agent_never_gets_more_than_its_free_slots(platform: Platform, capability: str) -> None:
    agent, tenant = await platform.agent(capability, max_concurrent=3), await platform.tenant()
    for _ in range(5):
        await tenant.submitted(capabilities=[capability])
    first = await agent.jobs(timeout=0, max_jobs=100)
    assert len(first) == 3
    assert await agent.jobs(timeout=0, max_jobs=100) == []
    await agent.finish(first[0])
    assert len(await agent.jobs(timeout=2, max_jobs=100)) == 1
