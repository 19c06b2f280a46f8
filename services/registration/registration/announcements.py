"""What the other services hear, after the commit. With Redis away they learn it from Postgres, a little later."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from msgspec import Struct

from platform_core.domain.ids import AgentId, JobId
from platform_core.wire.events import (
    AgentControl,
    AgentEvent,
    AgentEventKind,
    ControlKind,
    JobEvent,
    JobEventKind,
    JobQueued,
)
from platform_server.signals.streams import Stream
from platform_server.signals.wakeups import Channel
from platform_server.store.attempts import Requeued


@dataclass(frozen=True, slots=True)
class Announcer:
    """``publish`` and ``append`` of signals, bound to the connection; neither raises."""

    publish: Callable[[Channel, Sequence[Struct]], Awaitable[bool]]
    append: Callable[[Stream, Sequence[Struct]], Awaitable[bool]]

    async def control(self, agent: AgentId, kind: ControlKind) -> None:
        """Whoever serves the agent must know at once."""
        await self.publish(Channel.AGENT_CONTROL, [AgentControl(kind=kind, agent_id=agent)])

    async def event(self, agent: AgentId, kind: AgentEventKind) -> None:
        await self.append(Stream.AGENTS, [AgentEvent(kind=kind, agent_id=agent)])

    async def cancelled(self, jobs: Iterable[tuple[AgentId, JobId]]) -> None:
        """Each agent must stop the job that it holds."""
        messages = [AgentControl(kind=ControlKind.CANCEL, agent_id=agent, job_id=job) for agent, job in jobs]
        await self.publish(Channel.AGENT_CONTROL, messages)

    async def requeued(self, jobs: Sequence[Requeued]) -> None:
        """Agents that could run them may be waiting."""
        wanted = [job.requirement for job in jobs]
        await self.publish(
            Channel.JOB_QUEUE,
            [
                JobQueued(capabilities=tuple(sorted(w.capabilities)), tool=w.tool, preferred_region=w.preferred_region)
                for w in wanted
            ],
        )
        await self.append(
            Stream.JOBS,
            [
                JobEvent(
                    kind=JobEventKind.REQUEUED,
                    job_id=job.job,
                    tenant_id=job.tenant,
                    agent_id=job.agent,
                    attempt=job.attempt,
                )
                for job in jobs
            ],
        )
