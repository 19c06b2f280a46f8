"""Jobs submitted at a steady rate, and what became of them."""

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle

from cheap_http import Client, ConnectionLost
from crew import Job
from door import Tenant
from pacing import Share, offer, quantile

# So many submissions may be unanswered at once; beyond it the caller has given up waiting before it began.
_MOST_OPEN = 4000


class Load:
    """``arrived`` and ``finished`` are for a crew. Times count from when a job was meant to be submitted."""

    def __init__(self, client: Client, tenants: Sequence[Tenant], *, capability: str) -> None:
        self.statuses: Counter[int] = Counter()
        self.requests = 0
        self.generator_share = 0.0
        self.finished_at: list[float] = []
        self._client = client
        self._tenants = cycle(tenants)
        self._body = {"type": "health_check", "payload": {}, "capabilities": [capability]}
        self._due: dict[str, float] = {}
        self._arrived: dict[str, float] = {}
        self._open = 0

    def forget(self) -> None:
        """What was counted so far."""
        self.statuses.clear()
        self.requests = 0
        for counted in (self.finished_at, self._due, self._arrived):
            counted.clear()

    def arrived(self, job: Job, at: float) -> None:
        self._arrived[job.id] = at

    def finished(self, _: Job, at: float) -> None:
        self.finished_at.append(at)

    async def offer(self, *, rate: float, seconds: float) -> None:
        """Submit so many a second; ends when all are answered."""
        gc.collect()
        gc.freeze()
        share = Share()
        await offer(self._submit, rate=rate, seconds=seconds)
        self.generator_share = share()

    async def drained(self, *, seconds: float) -> None:
        """Until every accepted job was finished, or for so long."""
        deadline = time.perf_counter() + seconds
        while len(self.finished_at) < len(self._due) and time.perf_counter() < deadline:
            await asyncio.sleep(0.1)

    @property
    def accepted(self) -> int:
        return len(self._due)

    @property
    def refused(self) -> int:
        """Refused, broken off, or never sent."""
        return sum(count for status, count in self.statuses.items() if status != 201)

    def latencies_ms(self, *, since: float = 0.0) -> list[float]:
        """Of jobs that were due after that instant and have arrived."""
        due = ((job, at) for job, at in self._due.items() if at >= since)
        return [(self._arrived[job] - at) * 1000 for job, at in due if job in self._arrived]

    def lost(self) -> int:
        """Accepted, and not arrived."""
        return len(self._due.keys() - self._arrived.keys())

    def finished_per_second(self, *, since: float, until: float) -> float:
        return sum(since <= at < until for at in self.finished_at) / (until - since)

    async def _submit(self, due: float) -> None:
        if self._open >= _MOST_OPEN:
            self.statuses[0] += 1
            return
        self._open += 1
        self.requests += 1
        headers = next(self._tenants).headers
        status = 0
        with suppress(OSError, ConnectionLost):
            answer = await self._client.request("POST", "/api/v1/platform-jobs", headers=headers, body=self._body)
            status = answer.status
            if status == 201:
                self._due[answer.json()["job"]["id"]] = due
        self.statuses[status] += 1
        self._open -= 1


def percentiles(prefix: str, values: Sequence[float], suffix: str = "") -> dict[str, float]:
    """As figures: ``<prefix>_p50_ms<suffix>`` and so on."""
    if not values:
        return {}
    return {f"{prefix}_{name}_ms{suffix}": quantile(values, q) for name, q in _QUANTILES.items()}


_QUANTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
