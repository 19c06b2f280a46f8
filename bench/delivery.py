"""Submit to agent-in-hand through the gateway at 100 jobs a second, beside the peers' pick-up latency in process."""

import time
from collections.abc import Sequence

from crew import Crew
from load import Load, percentiles
from peers import NAMES
from sitting import Cores, Site, lane

RATE = 100.0
# So many that neither caps nor queue limits nor rate limits bind.
TENANTS = 20
# Ours and the peers' in turns, so that a neighbour's busy minute does not decide.
PASSES = 3


async def delivery(site: Site) -> None:
    seconds = site.length(30.0, 2.0)
    few, many = site.length((100, 1000), (20, 60))
    ours: dict[int, list[float]] = {few: [], many: []}
    theirs: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(site.length(PASSES, 1)):
        for agents, latencies in ours.items():
            latencies.extend(await delivered(site, agents=agents, rate=RATE, seconds=seconds))
        for name, latencies in theirs.items():
            told = await site.peers.run(name, "pickup", rate=RATE, seconds=seconds)
            latencies.extend(_numbers(told["latencies"]))
    site.note(percentiles("delivery", ours[few], "_100_agents") | percentiles("delivery", ours[many], "_1000_agents"))
    for name, latencies in theirs.items():
        site.note(percentiles(f"{name}_pickup", latencies))
        for q in ("p50", "p99"):
            site.ratio(f"delivery_{q}_over_{name}", f"delivery_{q}_ms_1000_agents", f"{name}_pickup_{q}_ms")


async def delivered(site: Site, *, agents: int, rate: float, seconds: float) -> list[float]:
    """Milliseconds from the intended submission to the job in an agent's hand, by so many agents that wait."""
    capability = lane()
    tenants = await site.door.tenants(TENANTS)
    crew = await site.door.agents(agents, capability=capability, slots=1)
    load = Load(site.door.client, tenants, capability=capability)
    async with Crew(site.door.client, crew, arrived=load.arrived, finished=load.finished):
        await load.offer(rate=rate, seconds=1)
        warm = time.perf_counter()
        cores = Cores(site.stack)
        await load.offer(rate=rate, seconds=seconds)
        told = cores.told()
        await load.drained(seconds=30)
    await site.door.remove_agents(crew)
    await site.door.remove_tenants(tenants)
    latencies = load.latencies_ms(since=warm)
    print(f"  {agents} agents: {load.refused} refused, {load.lost()} lost; {told}")
    site.note({"delivery_generator_share": load.generator_share, "delivery_lost": load.lost() + load.refused})
    return latencies


def _numbers(told: float | list[float]) -> Sequence[float]:
    assert isinstance(told, list)
    return told
