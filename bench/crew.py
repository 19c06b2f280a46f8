"""Agents that poll, acknowledge, take as long as a job takes, and report; cheap enough to be a thousand."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from types import TracebackType

import msgspec
from cheap_http import Answer, Client, ConnectionLost
from door import Agent

# A machine that is busy is slow, not wrong; an agent that is refused tries again.
_TRY_AGAIN_SECONDS = 0.5
_PATIENCE_SECONDS = 60.0
_TRIES = 20
# Keys that nobody has seen are verified a few at a time.
_NEWCOMERS_A_SECOND = 300


class Job(msgspec.Struct):
    id: str
    tenant_id: str
    auth_token: str


class _Polled(msgspec.Struct):
    jobs: list[Job]


_POLLED = msgspec.json.Decoder(_Polled)


def _at_once(_: Job) -> float:
    return 0.0


class Crew:
    """Works while it is open.

    ``arrived`` and ``finished`` hear of a job at its arrival in an agent's hand and when its result was taken.
    ``seconds_of``: how long a job takes. ``requests`` counts what was sent, ``troubles`` the answers
    that were not 200, by status; 0 is a connection that broke.
    """

    def __init__(
        self,
        client: Client,
        agents: Sequence[Agent],
        *,
        arrived: Callable[[Job, float], None] = lambda _job, _at: None,
        finished: Callable[[Job, float], None] = lambda _job, _at: None,
        seconds_of: Callable[[Job], float] = _at_once,
        poll_seconds: int = 60,
        spread_seconds: float = 0.0,
    ) -> None:
        self.requests = 0
        self.troubles: Counter[int] = Counter()
        self.waiting = 0
        self._client = client
        self._agents = agents
        self._arrived = arrived
        self._finished = finished
        self._seconds_of = seconds_of
        self._poll_seconds = poll_seconds
        self._spread = max(spread_seconds, len(agents) / _NEWCOMERS_A_SECOND)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Crew":
        """With a poll of every agent held: all are under way, and for a second none was refused."""
        for n, agent in enumerate(self._agents):
            task = asyncio.create_task(self._work(agent, delay=self._spread * n / len(self._agents)))
            self._stack.push_async_callback(_ended, task)
        deadline = time.perf_counter() + self._spread + _PATIENCE_SECONDS
        troubles = -1
        while self.waiting < len(self._agents) or self.troubles.total() != troubles:
            if time.perf_counter() > deadline:
                await self._stack.aclose()
                raise RuntimeError(f"{self.waiting} of {len(self._agents)} agents wait; {self.troubles}")
            troubles = self.troubles.total()
            await asyncio.sleep(1)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _work(self, agent: Agent, *, delay: float) -> None:
        await asyncio.sleep(delay)
        hands = asyncio.Semaphore(agent.slots)
        async with asyncio.TaskGroup() as group:
            while True:
                await hands.acquire()
                free = 1 + await _all_free(hands)
                jobs = await self._poll(agent, free)
                for _ in range(free - len(jobs)):
                    hands.release()
                for job in jobs:
                    group.create_task(self._do(job, agent, hands))

    async def _poll(self, agent: Agent, free: int) -> list[Job]:
        body = {"timeout": self._poll_seconds, "max_jobs": free}
        self.waiting += 1
        try:
            answer = await self._send("/api/v1/platform-agent/poll", agent.headers, body)
        finally:
            self.waiting -= 1
        if answer is None:
            await asyncio.sleep(_TRY_AGAIN_SECONDS)
            return []
        at = time.perf_counter()
        jobs = _POLLED.decode(answer.body).jobs
        for job in jobs:
            self._arrived(job, at)
        return jobs

    async def _do(self, job: Job, agent: Agent, hands: asyncio.Semaphore) -> None:
        headers = {**agent.headers, "X-Job-Token": job.auth_token}
        path = f"/api/v1/platform-agent/jobs/{job.id}"
        if await self._told(f"{path}/ack", headers):
            if seconds := self._seconds_of(job):
                await asyncio.sleep(seconds)
            if await self._told(f"{path}/result", headers, {"status": "completed"}):
                self._finished(job, time.perf_counter())
        hands.release()

    async def _told(self, path: str, headers: Mapping[str, str], body: object = None) -> bool:
        """As an agent would: until it is taken, or for ten seconds."""
        for _ in range(_TRIES):
            if await self._send(path, headers, body) is not None:
                return True
            await asyncio.sleep(_TRY_AGAIN_SECONDS)
        return False

    async def _send(self, path: str, headers: Mapping[str, str], body: object = None) -> Answer | None:
        """None when it was not answered with 200."""
        self.requests += 1
        status = 0
        with suppress(OSError, ConnectionLost):
            answer = await self._client.request("POST", path, headers=dict(headers), body=body)
            if answer.status == 200:
                return answer
            status = answer.status
        self.troubles[status] += 1
        return None


async def _all_free(hands: asyncio.Semaphore) -> int:
    """Take every slot that is free now; returns how many."""
    taken = 0
    while not hands.locked():
        await hands.acquire()
        taken += 1
    return taken


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
