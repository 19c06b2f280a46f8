"""Two dispatchers hand out one queue: every job once, to nobody more than it can hold."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from driving import Agent, Body, Platform, Tenant, lane

JOBS = 200
AGENTS = 24
SLOTS = 3


@dataclass
class Ledger:
    """What every agent was given, and how many jobs it held at once."""

    given: list[tuple[str, int]] = field(default_factory=list)
    held: Counter[str] = field(default_factory=Counter)

    @property
    def all_given(self) -> bool:
        return len(self.given) >= JOBS

    def take(self, agent: Agent, jobs: list[Body]) -> None:
        self.given += [(job["id"], job["attempt"]) for job in jobs]
        self.held[agent.id] += len(jobs)
        assert self.held[agent.id] <= SLOTS

    def give_back(self, agent: Agent) -> None:
        self.held[agent.id] -= 1


async def test_200_jobs_are_each_handed_out_once_and_no_agent_holds_more_than_its_slots(platform: Platform) -> None:
    capability = lane()
    tenants = [await platform.tenant("enterprise") for _ in range(4)]
    agents = [await platform.agent(capability, max_concurrent=SLOTS) for _ in range(AGENTS)]
    ledger = Ledger()
    async with asyncio.TaskGroup() as group:
        for agent in agents:
            # Two polls at once, each for more than the slots: which dispatcher has which is the gateway's choice.
            group.create_task(poll_until_done(agent, ledger))
            group.create_task(poll_until_done(agent, ledger))
        for n in range(JOBS):
            group.create_task(submit(tenants[n % len(tenants)], capability))
    assert Counter(attempt for _, attempt in ledger.given) == {1: JOBS}
    assert len({job for job, _ in ledger.given}) == JOBS
    for tenant in tenants:
        answer = await tenant.http.get("/api/v1/platform-jobs?status=completed&limit=200", headers=tenant.headers)
        assert len(answer.json()["jobs"]) == JOBS // len(tenants)


async def submit(tenant: Tenant, capability: str) -> None:
    await tenant.submitted(capabilities=[capability])


async def poll_until_done(agent: Agent, ledger: Ledger) -> None:
    while not ledger.all_given:
        jobs = await agent.jobs(timeout=1, max_jobs=SLOTS + 2)
        ledger.take(agent, jobs)
        for job in jobs:
            assert (await agent.report(job, "ack")).status_code == 200
            # Our count falls before the platform's can: ours is never too high.
            ledger.give_back(agent)
            assert (await agent.report(job, "result", {"status": "completed"})).status_code == 200
