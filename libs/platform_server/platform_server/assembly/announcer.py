"""What the other services hear, after the commit. With Redis away they learn it from Postgres, a little later."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.scheduling import Requirement
from platform_core.wire.events import (
    AgentControl,
    AgentEvent,
    AgentEventKind,
    ControlKind,
    JobEvent,
    JobEventKind,
    JobQueued,
)
from platform_server.signals import streams, wakeups
from platform_server.signals.connection import Client
from platform_server.signals.streams import Stream
from platform_server.signals.wakeups import Channel


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


class BackInQueue(Attempted, Protocol):
    @property
    def requirement(self) -> Requirement: ...


@dataclass(frozen=True, slots=True)
class Announcer:
    """Nothing of it raises."""

    redis: Client

    async def agents(self, kind: AgentEventKind, agents: Iterable[AgentId]) -> None:
        await streams.append(self.redis, Stream.AGENTS, [AgentEvent(kind=kind, agent_id=agent) for agent in agents])

    async def control(self, kind: ControlKind, agent: AgentId) -> None:
        """Whoever serves the agent must know at once."""
        await wakeups.publish(self.redis, Channel.AGENT_CONTROL, [AgentControl(kind=kind, agent_id=agent)])

    async def stop(self, kind: ControlKind, jobs: Iterable[tuple[AgentId, JobId]]) -> None:
        """Each agent must stop the job that it runs: it was cancelled, or the agent has lost it."""
        messages = [AgentControl(kind=kind, agent_id=agent, job_id=job) for agent, job in jobs]
        await wakeups.publish(self.redis, Channel.AGENT_CONTROL, messages)

    async def queued(self, job: JobId, tenant: TenantId, requirement: Requirement) -> None:
        """Agents that could run it may be waiting."""
        await wakeups.publish(self.redis, Channel.JOB_QUEUE, [JobQueued.of(requirement)])
        await self.happened(JobEventKind.QUEUED, job, tenant)

    async def requeued(self, jobs: Sequence[BackInQueue]) -> None:
        """Agents that could run them may be waiting."""
        await wakeups.publish(self.redis, Channel.JOB_QUEUE, [JobQueued.of(job.requirement) for job in jobs])
        await self.attempted(JobEventKind.REQUEUED, jobs)

    async def attempted(self, kind: JobEventKind, jobs: Iterable[Attempted]) -> None:
        events = [
            JobEvent(kind=kind, job_id=a.job, tenant_id=a.tenant, agent_id=a.agent, attempt=a.attempt) for a in jobs
        ]
        await streams.append(self.redis, Stream.JOBS, events)

    async def happened(
        self, kind: JobEventKind, job: JobId, tenant: TenantId, *, agent: AgentId | None = None, attempt: int = 0
    ) -> None:
        event = JobEvent(kind=kind, job_id=job, tenant_id=tenant, agent_id=agent, attempt=attempt)
        await streams.append(self.redis, Stream.JOBS, [event])
