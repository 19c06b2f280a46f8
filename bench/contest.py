"""Tenants that always have something queued, and who of them held the slots for how long."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

import asyncpg
from cheap_http import Client, ConnectionLost
from crew import Crew, Job
from door import Tenant
from sitting import Site, lane

# Queued or in an agent's hand, by plan: more than the tenant's share of the slots, less than its queue takes.
OPEN_JOBS = {"free": 10, "starter": 25, "pro": 50, "enterprise": 300}
WEIGHTS = {"free": 2, "starter": 5, "pro": 10, "enterprise": 50}


@dataclass(frozen=True, slots=True)
class Entrant:
    """A kind of tenant: its plan, and how many seconds its jobs take."""

    plan: str
    seconds: float
    priority: str = "normal"


class Feeder:
    """Whenever a job of a tenant ends, the tenant submits the next one."""

    def __init__(self, client: Client, capability: str, entrants: Mapping[str, Entrant]) -> None:
        self.ended = dict.fromkeys(entrants, 0)
        self._client = client
        self._capability = capability
        self._entrants = entrants
        self._tenants: dict[str, Tenant] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def seconds_of(self, job: Job) -> float:
        return self._entrants[job.tenant_id].seconds

    def finished(self, job: Job, _: float) -> None:
        self.ended[job.tenant_id] += 1
        if job.tenant_id in self._tenants:
            self._start(self._tenants[job.tenant_id])

    async def feed(self, tenants: Sequence[Tenant]) -> None:
        """They have a full load from now on."""
        for tenant in tenants:
            self._tenants[tenant.id] = tenant
            for _ in range(OPEN_JOBS[self._entrants[tenant.id].plan]):
                self._start(tenant)
        await asyncio.gather(*self._tasks)

    async def submit(self, tenant: Tenant) -> None:
        """Until it is accepted."""
        entrant = self._entrants[tenant.id]
        body = {
            "type": "health_check",
            "payload": {},
            "capabilities": [self._capability],
            "priority": entrant.priority,
        }
        while True:
            with suppress(OSError, ConnectionLost):
                answer = await self._client.request("POST", "/api/v1/platform-jobs", headers=tenant.headers, body=body)
                if answer.status == 201:
                    return
            await asyncio.sleep(0.2)

    async def stop(self) -> None:
        self._tenants.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, tenant: Tenant) -> None:
        task = asyncio.create_task(self.submit(tenant))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@dataclass(frozen=True, slots=True)
class Contest:
    site: Site
    feeder: Feeder
    tenants: Sequence[Tenant]

    async def held(self, *, seconds: float) -> list[float]:
        """Slot-seconds of each tenant in the seconds that come."""
        conn = await asyncpg.connect(self.site.stack.database)
        try:
            since: datetime = await conn.fetchval("SELECT clock_timestamp()")
            await asyncio.sleep(seconds)
            rows = await conn.fetch(_HELD, [tenant.id for tenant in self.tenants], since)
        finally:
            await conn.close()
        by_tenant = {str(row["tenant_id"]): float(row["seconds"]) for row in rows}
        return [by_tenant.get(tenant.id, 0.0) for tenant in self.tenants]


@asynccontextmanager
async def contest(
    site: Site, entrants: Sequence[Entrant], *, agents: int, slots: int, capability: str | None = None
) -> AsyncIterator[Contest]:
    """The tenants in the order of ``entrants``, none fed yet, and a crew at work for them."""
    capability = capability or lane()
    tenants = [(await site.door.tenants(1, plan=entrant.plan))[0] for entrant in entrants]
    hands = await site.door.agents(agents, capability=capability, slots=slots)
    feeder = Feeder(
        site.door.client, capability, {tenant.id: entrant for tenant, entrant in zip(tenants, entrants, strict=True)}
    )
    async with Crew(site.door.client, hands, finished=feeder.finished, seconds_of=feeder.seconds_of):
        yield Contest(site, feeder, tenants)
        await feeder.stop()
    await site.door.remove_tenants(tenants)
    await site.door.remove_agents(hands)


_HELD = """
SELECT tenant_id, sum(extract(epoch FROM until - since))::float8 AS seconds
FROM (
    SELECT tenant_id, greatest(assigned_at, $2::timestamptz) AS since, least(completed_at, now()) AS until
    FROM jobs
    WHERE tenant_id = ANY ($1::text[]::uuid[])
        AND assigned_at < now()
        AND (completed_at IS NULL OR completed_at > $2)
) AS held
GROUP BY tenant_id
"""
