"""Two dispatchers on one Postgres: limits are exact, a job goes to one agent."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from dispatching import SOON, Agent, Dispatcher, Wakes, hears

from world import World

NewAgent = Callable[..., Awaitable[Agent]]
CAPS = {"free": 2, "starter": 5, "pro": 10, "enterprise": 50}


@pytest.fixture
async def both(
    serve: Callable[..., AbstractAsyncContextManager[Dispatcher]], wakes: Wakes
) -> AsyncIterator[list[Dispatcher]]:
    async with serve() as one, serve() as other:
        await hears(wakes.client, 2)
        yield [one, other]


async def test_max_concurrent_jobs_of_each_plan_are_exact(
    world: World, both: list[Dispatcher], new_agent: NewAgent
) -> None:
    plans = {}
    for plan, cap in CAPS.items():
        tenant = await world.tenant(plan)
        plans[str(tenant)] = plan
        await world.submit(tenant, count=cap + 5)
    fleet = [await new_agent(both[n % 2], f"scanner-{n}") for n in range(16)]
    polls = (agent.jobs(timeout=0, max_jobs=20) for agent in fleet for _ in range(2))
    given = [job for jobs in await asyncio.gather(*polls) for job in jobs]
    assert Counter(plans[job["tenant_id"]] for job in given) == CAPS
    assert len({job["id"] for job in given}) == len(given)
    assert await fleet[0].jobs(timeout=0, max_jobs=20) == []


async def test_an_agents_polls_at_both_never_exceed_its_free_slots(
    world: World, both: list[Dispatcher], new_agent: NewAgent
) -> None:
    one = await new_agent(both[0], max_concurrent=3)
    other = await new_agent(both[1], "idle")
    other.http.headers["X-API-Key"] = one.key
    await world.submit(await world.tenant(), count=20)
    given = await asyncio.gather(*(agent.jobs(timeout=0, max_jobs=2) for agent in (one, other) * 4))
    assert sum(len(jobs) for jobs in given) == 3


async def test_a_job_that_both_hear_of_is_handed_out_once(
    world: World, both: list[Dispatcher], new_agent: NewAgent, wakes: Wakes
) -> None:
    fleet = [await new_agent(at, f"scanner-{n}") for n, at in enumerate(both)]
    tenant = await world.tenant()
    for _ in range(5):
        polling = [asyncio.create_task(agent.jobs(timeout=60)) for agent in fleet]
        for at in both:
            await at.holds(1)
        (job,) = await world.submit(tenant)
        await wakes.queued()
        async with asyncio.timeout(SOON):
            await asyncio.wait(polling, return_when=asyncio.FIRST_COMPLETED)
        for at, agent in zip(both, fleet, strict=True):
            at.state["broker"].end_polls_of(agent.id)
        given = [one["id"] for jobs in await asyncio.gather(*polling) for one in jobs]
        assert given == [str(job)]
