"""Submit to agent-in-hand through the gateway, with agents that wait: p50, p99 and the largest, in milliseconds."""

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvloop
from cheap_http import Client

STACK = str(Path(sys.executable).with_name("platform-stack"))


def stack_token(*args: str) -> str:
    return subprocess.run([STACK, "token", *args], check=True, capture_output=True, text=True).stdout.strip()


class Bench:
    """Some agents that poll, ack and complete at once, and a tenant that submits at a steady rate."""

    def __init__(self, client: Client, *, admin: str, tenant: str, region: str, agents: int) -> None:
        self.client = client
        self.admin = {"Authorization": f"Bearer {admin}"}
        self.tenant = {"Authorization": f"Bearer {tenant}"}
        self.region = region
        self.intended: dict[str, float] = {}
        self.arrived: dict[str, float] = {}
        self.arrival = asyncio.Condition()
        self.refused = 0
        self.agents = agents
        self.made = 0
        self.all_made = asyncio.Event()

    async def agent(self, n: int) -> None:
        body = {
            "name": f"bench-{os.getpid()}-{n}",
            "region": self.region,
            "capabilities": [self.region],
            "max_concurrent": 5,
        }
        made = await self.client.request("POST", "/api/v1/admin/platform-agents", headers=self.admin, body=body)
        assert made.status == 201, made.body
        key = {"X-API-Key": made.json()["api_key"]}
        self.made += 1
        if self.made == self.agents:
            self.all_made.set()
        try:
            while True:
                polled = await self.client.request(
                    "POST", "/api/v1/platform-agent/poll", headers=key, body={"timeout": 30}
                )
                arrived = time.perf_counter()
                assert polled.status == 200, polled.body
                for job in polled.json()["jobs"]:
                    self.arrived[job["id"]] = arrived
                    async with self.arrival:
                        self.arrival.notify_all()
                    await self._finish(job, key)
        finally:
            path = f"/api/v1/admin/platform-agents/{made.json()['agent']['id']}"
            await self.client.request("DELETE", path, headers=self.admin)

    async def drained(self, *, timeout: float) -> None:
        """Until every accepted job has arrived, or for so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout), self.arrival:
                await self.arrival.wait_for(lambda: self.intended.keys() <= self.arrived.keys())

    async def _finish(self, job: dict[str, Any], key: dict[str, str]) -> None:
        headers = {**key, "X-Job-Token": job["auth_token"]}
        path = f"/api/v1/platform-agent/jobs/{job['id']}"
        acknowledged = await self.client.request("POST", f"{path}/ack", headers=headers)
        assert acknowledged.status == 200, acknowledged.body
        told = await self.client.request("POST", f"{path}/result", headers=headers, body={"status": "completed"})
        assert told.status == 200, told.body

    async def submit(self, intended: float) -> None:
        await asyncio.sleep(intended - time.perf_counter())
        body = {"type": "health_check", "payload": {}, "capabilities": [self.region]}
        answer = await self.client.request("POST", "/api/v1/platform-jobs", headers=self.tenant, body=body)
        if answer.status == 201:
            self.intended[answer.json()["job"]["id"]] = intended
        else:
            self.refused += 1


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def quantile(sorted_ms: Sequence[float], q: float) -> float:
    return sorted_ms[min(len(sorted_ms) - 1, int(q * len(sorted_ms)))]


async def measure(args: argparse.Namespace) -> int:
    tokens = {"admin": stack_token("--admin"), "tenant": stack_token("--tenant", "bench", "--plan", "enterprise")}
    client = Client(args.url)
    bench = Bench(client, **tokens, region=f"bench-{os.getpid()}", agents=args.agents)
    agents = [asyncio.create_task(bench.agent(n)) for n in range(args.agents)]
    await bench.all_made.wait()
    # The first poll of each is held by then.
    await asyncio.sleep(3)
    start, used = time.perf_counter(), cpu_seconds()
    await asyncio.gather(*(bench.submit(start + n / args.rate) for n in range(args.jobs)))
    await bench.drained(timeout=30)
    share = (cpu_seconds() - used) / (time.perf_counter() - start)
    for task in agents:
        task.cancel()
    await asyncio.gather(*agents, return_exceptions=True)
    client.close()
    latencies = sorted((bench.arrived[j] - t) * 1000 for j, t in bench.intended.items() if j in bench.arrived)
    lost = len(bench.intended) - len(latencies)
    print(f"{args.jobs} jobs at {args.rate}/s, {args.agents} agents: {bench.refused} refused, {lost} not delivered")
    if latencies:
        figures = {"p50": quantile(latencies, 0.5), "p99": quantile(latencies, 0.99), "max": latencies[-1]}
        print("  ".join(f"{name} {ms:.1f} ms" for name, ms in figures.items()))
    print(f"the load generator took {share:.0%} of a core")
    return 1 if lost or bench.refused else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default=f"http://127.0.0.1:{os.environ.get('STACK_PORT', '8080')}")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=50.0, help="jobs per second")
    parser.add_argument("--agents", type=int, default=10)
    return uvloop.run(measure(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
