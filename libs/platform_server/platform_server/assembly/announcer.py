"""What the other services hear, after the commit. With Redis away they learn it from Postgres, a little later."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Final, Protocol

from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.scheduling import Requirement
from platform_core.wire.events import (
    AgentControl,
    AgentEvent,
    AgentEventKind,
    AssignedJob,
    ControlKind,
    JobEvent,
    JobEventKind,
    JobQueued,
    JobsAssigned,
)
from platform_server.kit.batching import Batch
from platform_server.signals import outgoing
from platform_server.signals.connection import Client
from platform_server.signals.outgoing import Message
from platform_server.signals.streams import Stream
from platform_server.signals.wakeups import Channel

# How long an answer may be held up by what follows its commit.
_PATIENCE: Final = timedelta(milliseconds=50)
# Watchers see an event so much later at most: of a busy dispatcher's thousands a second few then cost a round trip.
_GATHERED_SECONDS: Final = 0.05
# A stalled Redis is given up after a second: what gathered in it is all that ever waits.
_AT_ONCE: Final = 10_000
# No submission's answer waits longer than a second for an assignment: of older jobs nobody waits to hear.
_AWAITED: Final = timedelta(seconds=2)


class Attempted(Protocol):
    """A job on an attempt, as the store tells of it."""

    @property
    def job(self) -> JobId: ...
    @property
    def tenant(self) -> TenantId: ...
    @property
    def attempt(self) -> int: ...
    @property
    def agent(self) -> AgentId: ...


class HandedOut(Attempted, Protocol):
    @property
    def assigned_at(self) -> datetime: ...
    @property
    def waited(self) -> timedelta: ...


class BackInQueue(Attempted, Protocol):
    @property
    def requirement(self) -> Requirement: ...


class Announcer:
    """Nothing of it raises, and nobody waits long for a Redis that stalls: what it has not taken goes out later.

    Messages go out in the order in which they were given, those that gathered meanwhile in one round trip. Who tells an
    agent to stop waits a moment until that is out; what happened to jobs goes out by itself.
    """

    def __init__(self, redis: Client) -> None:
        self._redis = redis
        self._outgoing: Batch[Sequence[Message], None] = Batch(self._send, max_size=_AT_ONCE)
        self._waiting: list[Message] = []
        self._timer: asyncio.TimerHandle | None = None

    async def agents(self, kind: AgentEventKind, agents: Iterable[AgentId]) -> None:
        await self._say([Message(Stream.AGENTS, AgentEvent(kind=kind, agent_id=agent)) for agent in agents])

    async def control(self, kind: ControlKind, agent: AgentId) -> None:
        """Whoever serves the agent must know at once."""
        await self._say([Message(Channel.AGENT_CONTROL, AgentControl(kind=kind, agent_id=agent))])

    async def stop(self, kind: ControlKind, jobs: Iterable[tuple[AgentId, JobId]]) -> None:
        """Each agent must stop the job that it runs: it was cancelled, or the agent has lost it."""
        told = [AgentControl(kind=kind, agent_id=agent, job_id=job) for agent, job in jobs]
        await self._say([Message(Channel.AGENT_CONTROL, one) for one in told])

    def queued(self, job: JobId, tenant: TenantId, requirement: Requirement) -> None:
        """Agents that could run it may be waiting."""
        event = JobEvent(kind=JobEventKind.QUEUED, job_id=job, tenant_id=tenant)
        self._put([Message(Channel.JOB_QUEUE, JobQueued.of(requirement)), Message(Stream.JOBS, event)])

    async def requeued(self, jobs: Sequence[BackInQueue]) -> None:
        """Agents that could run them may be waiting."""
        woken = [Message(Channel.JOB_QUEUE, JobQueued.of(job.requirement)) for job in jobs]
        await self._say([*woken, *_attempted(JobEventKind.REQUEUED, jobs)])

    def assigned(self, jobs: Sequence[HandedOut]) -> None:
        """After the claim's commit. The answers to their submissions may be waiting to tell it."""
        awaited = [job for job in jobs if job.attempt == 1 and job.waited < _AWAITED]
        body = JobsAssigned(jobs=tuple(AssignedJob(job.job, job.agent, job.assigned_at) for job in awaited))
        told = [Message(Channel.JOB_ASSIGNED, body)] if awaited else []
        self._put([*told, *_attempted(JobEventKind.ASSIGNED, jobs)])

    def attempted(self, kind: JobEventKind, jobs: Iterable[Attempted]) -> None:
        self._put(_attempted(kind, jobs))

    def happened(
        self, kind: JobEventKind, job: JobId, tenant: TenantId, *, agent: AgentId | None = None, attempt: int = 0
    ) -> None:
        event = JobEvent(kind=kind, job_id=job, tenant_id=tenant, agent_id=agent, attempt=attempt)
        self._put([Message(Stream.JOBS, event)])

    async def finish(self) -> None:
        """Until everything has gone out, or Redis refused it."""
        self._go()
        await self._outgoing.finish()

    async def _say(self, messages: Sequence[Message]) -> None:
        if messages:
            self._waiting += messages
            await asyncio.wait([self._go()], timeout=_PATIENCE.total_seconds())

    def _put(self, messages: Sequence[Message]) -> None:
        """A wake-up goes out at once, and what waited before it; events wait a moment for company."""
        self._waiting += messages
        if any(isinstance(message.to, Channel) for message in messages):
            self._go()
        elif messages and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_GATHERED_SECONDS, self._go)

    def _go(self) -> asyncio.Future[None]:
        """Send what waits; done when it is out."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        return self._outgoing.put(waiting)

    async def _send(self, told: Sequence[Sequence[Message]]) -> Sequence[None]:
        await outgoing.send(self._redis, _assigned_together(list(chain.from_iterable(told))))
        return [None] * len(told)


def _assigned_together(messages: Sequence[Message]) -> Sequence[Message]:
    """What one claim gave to many polls is one message: each of them wakes every job intake."""
    told = [message.body.jobs for message in messages if isinstance(message.body, JobsAssigned)]
    if len(told) < 2:
        return messages
    others = [message for message in messages if not isinstance(message.body, JobsAssigned)]
    return [Message(Channel.JOB_ASSIGNED, JobsAssigned(jobs=tuple(chain.from_iterable(told)))), *others]


def _attempted(kind: JobEventKind, jobs: Iterable[Attempted]) -> list[Message]:
    return [
        Message(
            Stream.JOBS,
            JobEvent(kind=kind, job_id=a.job, tenant_id=a.tenant, agent_id=a.agent, attempt=a.attempt),
        )
        for a in jobs
    ]
