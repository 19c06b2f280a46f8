"""Thousands of held polls on one dispatcher: bytes each, idle CPU, delivery while they wait, a restart's storm."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import bare
import httpx
import psutil
from cheap_http import Client
from crew import Crew
from door import Agent
from load import Load, percentiles
from sitting import Cores, Site, lane

TENANTS = 20
# Held once and let go before memory is looked at: what a process needs for its first polls is no poll's.
WARM_UP = 50
POLL_SECONDS = 60


async def held_polls(site: Site) -> None:
    capability = lane()
    agents = await site.door.agents(site.length(9000, 200), capability=capability, slots=1)
    tenants = await site.door.tenants(TENANTS)
    load = Load(site.door.client, tenants, capability=capability)
    await asyncio.to_thread(site.stack.restart, "dispatcher")
    async with Crew(site.door.client, agents[:WARM_UP], poll_seconds=POLL_SECONDS):
        pass
    before = _own_bytes(_dispatcher(site))
    crew = Crew(
        site.door.client, agents, arrived=load.arrived, finished=load.finished, poll_seconds=POLL_SECONDS,
        spread_seconds=site.length(float(POLL_SECONDS), 3.0),
    )  # fmt: skip
    async with crew:
        site.note({"held_polls": crew.waiting})
        site.note({"held_poll_bytes": (_own_bytes(_dispatcher(site)) - before) / len(agents)})
        await _idle(site)
        cores = Cores(site.stack)
        await load.offer(rate=100, seconds=site.length(30.0, 2.0))
        print(f"  delivering: {load.refused} refused; {cores.told()}; generator {load.generator_share:.2f}")
        await load.drained(seconds=30)
        site.note(percentiles("held_poll_delivery", load.latencies_ms()))
        await _storm(site, len(agents))
    site.note({"bare_route_bytes": await _bare_bytes(agents)})
    site.ratio("held_poll_bytes_over_bare_route", "held_poll_bytes", "bare_route_bytes")
    await site.door.remove_tenants(tenants)
    await _removed(site, agents)


async def _idle(site: Site) -> None:
    """Nothing is queued; polls end when their time is up, and come again."""
    cores = Cores(site.stack)
    await asyncio.sleep(site.length(float(POLL_SECONDS), 3.0))
    site.note({"held_poll_idle_cpu": cores()["dispatcher"]})
    print(f"  idle: {cores.told()}")


async def _storm(site: Site, agents: int) -> None:
    """The dispatcher stops as a deployment stops it, and starts again: until it holds every poll once more."""
    start = time.perf_counter()
    service = await asyncio.to_thread(site.stack.restart, "dispatcher")
    ready = time.perf_counter()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{service.internal_port}") as client, asyncio.timeout(120):
        while _held((await client.get("/metrics")).text) < 0.999 * agents:
            await asyncio.sleep(0.1)
    site.note({"reconnect_ready_seconds": ready - start, "reconnect_storm_seconds": time.perf_counter() - ready})


async def _bare_bytes(agents: Sequence[Agent]) -> float:
    with TemporaryDirectory() as folder:
        async with bare.running(Path(folder)) as (address, pid):
            await _held_bare(address, pid, agents[:WARM_UP])
            before = _own_bytes(pid)
            return (await _held_bare(address, pid, agents) - before) / len(agents)


async def _held_bare(address: str, pid: int, agents: Sequence[Agent]) -> int:
    """What the process has while it holds their polls: the same requests, as they come from the gateway."""
    client = Client(address)
    body = {"timeout": POLL_SECONDS}
    held = [
        asyncio.create_task(client.request("POST", "/hold", headers={**agent.headers, **_by_the_gateway()}, body=body))
        for agent in agents
    ]
    connections = 0
    while connections < len(agents):
        await asyncio.sleep(0.2)
        connections = len(psutil.Process(pid).net_connections("tcp")) - 1
    await asyncio.sleep(1)
    bytes_then = _own_bytes(pid)
    for task in held:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return bytes_then


def _by_the_gateway() -> dict[str, str]:
    """The headers that it adds."""
    return {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Request-ID": str(uuid4())}


async def _removed(site: Site, agents: Sequence[Agent]) -> None:
    """Those of the full length go with their stack."""
    if site.short:
        await site.door.remove_agents(agents)


def _dispatcher(site: Site) -> int:
    return site.stack.services["dispatcher"][0].process.pid


def _own_bytes(pid: int) -> int:
    return int(psutil.Process(pid).memory_full_info().uss)


def _held(exposition: str) -> float:
    lines = (line for line in exposition.splitlines() if line.startswith("platform_held_polls "))
    return sum(float(line.rpartition(" ")[2]) for line in lines)
