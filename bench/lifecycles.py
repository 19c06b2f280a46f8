"""Lifecycles a second (submit, poll, ack, result over HTTP) up to the knee, beside the peers and the HTTP floor."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import bare
from cheap_http import Client
from crew import Crew
from door import Tenant
from load import Load
from pacing import Share, quantile
from peers import NAMES
from sitting import Cores, Site, lane

TENANTS = 80
AGENTS = 32
SLOTS = 8
# As many callers of a peer as we have jobs in agents' hands.
CONCURRENCY = AGENTS * SLOTS
FIRST_RATE = 200.0
STEP = 1.25
# Less than this of what is offered comes through: the knee is behind us.
KEEPS_UP = 0.92


@dataclass(frozen=True, slots=True)
class Step:
    """What came of a rate: finished jobs a second in the second half of it, and HTTP requests for each."""

    offered: float
    finished: float
    p99_ms: float
    requests_each: float
    refused: int
    lost: int
    generator: float

    @property
    def behind(self) -> bool:
        return self.finished < KEEPS_UP * self.offered


@dataclass(frozen=True, slots=True)
class Field:
    site: Site
    tenants: list[Tenant]
    crew: Crew
    load: Load

    async def step(self, rate: float, *, seconds: float) -> Step:
        """The load before it must have drained."""
        load = self.load
        load.forget()
        self.crew.troubles.clear()
        requests, cores = self.crew.requests, Cores(self.site.stack)
        start = time.perf_counter()
        offering = asyncio.create_task(load.offer(rate=rate, seconds=seconds))
        await asyncio.sleep(seconds)
        told, sent, finished = cores.told(), self.crew.requests - requests + load.requests, len(load.finished_at)
        await offering
        await load.drained(seconds=60)
        step = Step(
            rate,
            load.finished_per_second(since=start + seconds / 2, until=start + seconds),
            quantile(load.latencies_ms(since=start + seconds / 4) or [0.0], 0.99),
            sent / max(1, finished),
            load.refused,
            load.lost(),
            load.generator_share,
        )
        print(
            f"  {rate:.0f}/s offered: {step.finished:.0f}/s finished, delivery p99 {step.p99_ms:.0f} ms, "
            f"{step.refused} refused, {step.lost} lost, {step.requests_each:.1f} requests each, "
            f"agents' troubles {dict(self.crew.troubles)}, submissions {dict(load.statuses)}; "
            f"generator {step.generator:.2f}, {told}",
            flush=True,
        )
        return step


async def lifecycles(site: Site) -> None:
    seconds = site.length(12.0, 2.0)
    async with field(site) as at:
        knee = await _knee(at, seconds=seconds, steps=site.length(20, 2))
        site.note({"lifecycles_per_second": knee.finished, "lifecycle_requests": knee.requests_each})
        site.note({"knee_generator_share": knee.generator})
        calm = await at.step(0.7 * knee.finished, seconds=site.length(30.0, 2.0))
        site.note({"delivery_p99_ms_at_70pct_knee": calm.p99_ms})
        flood = await at.step(2 * knee.finished, seconds=site.length(30.0, 2.0))
        site.note({"overload_finished_per_second": flood.finished, "overload_refused": flood.refused})
        site.note({"overload_kept": flood.finished / knee.finished})
    await _peers(site)
    await _floor(site, knee)


@asynccontextmanager
async def field(site: Site) -> AsyncIterator[Field]:
    """Tenants that no limit holds back, and a crew at work."""
    capability = lane()
    tenants = await site.door.tenants(TENANTS)
    agents = await site.door.agents(AGENTS, capability=capability, slots=SLOTS)
    load = Load(site.door.client, tenants, capability=capability)
    async with Crew(site.door.client, agents, arrived=load.arrived, finished=load.finished) as crew:
        yield Field(site, tenants, crew, load)
    await site.door.remove_agents(agents)
    await site.door.remove_tenants(tenants)


async def _knee(at: Field, *, seconds: float, steps: int) -> Step:
    """The best of rising rates, until two in a row were too much."""
    tried: list[Step] = []
    while len(tried) < steps and sum(step.behind for step in tried[-2:]) < 2:
        tried.append(await at.step(FIRST_RATE * STEP ** len(tried), seconds=seconds))
    return max(tried, key=lambda step: step.finished)


async def _peers(site: Site) -> None:
    for name in NAMES:
        told = await site.peers.run(name, "lifecycles", concurrency=CONCURRENCY, seconds=site.length(15.0, 2.0))
        assert isinstance(told["per_second"], float)
        site.note({f"{name}_lifecycles_per_second": told["per_second"]})
        site.ratio(f"lifecycles_over_{name}", "lifecycles_per_second", f"{name}_lifecycles_per_second")


async def _floor(site: Site, knee: Step) -> None:
    """How many lifecycles a second the same number of requests would allow, were they all answered at once."""
    with TemporaryDirectory() as folder:
        async with bare.running(Path(folder)) as (address, _):
            share = Share()
            rate = await _answered(Client(address), seconds=site.length(8.0, 1.0))
            site.note({"floor_generator_share": share()})
    site.note({"floor_requests_per_second": rate, "floor_lifecycles_per_second": rate / knee.requests_each})
    site.ratio("lifecycles_over_floor", "lifecycles_per_second", "floor_lifecycles_per_second")


async def _answered(client: Client, *, seconds: float) -> float:
    """Requests a second."""
    answered = count()
    start = time.perf_counter()

    async def caller() -> None:
        while time.perf_counter() < start + seconds:
            await client.request("POST", "/answer", headers={}, body={"status": "completed"})
            next(answered)

    await asyncio.gather(*(caller() for _ in range(64)))
    client.close()
    return next(answered) / (time.perf_counter() - start)
