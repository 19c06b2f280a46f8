"""What the other services hear, after the commit. With Redis away they learn it from Postgres, a little later."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from msgspec import Struct

from platform_core.domain.ids import AgentId
from platform_core.wire.events import AgentEvent, AgentEventKind, JobEvent, JobEventKind, JobQueued
from platform_server.signals.streams import Stream
from platform_server.signals.wakeups import Channel
from platform_server.store.attempts import Requeued
from platform_server.store.sweeps import Settled


@dataclass(frozen=True, slots=True)
class Announcer:
    """``publish`` and ``append`` of signals, bound to the connection; neither raises."""

    publish: Callable[[Channel, Sequence[Struct]], Awaitable[bool]]
    append: Callable[[Stream, Sequence[Struct]], Awaitable[bool]]

    async def online(self, agents: Iterable[AgentId]) -> None:
        await self._say(AgentEventKind.ONLINE, agents)

    async def offline(self, agents: Iterable[AgentId]) -> None:
        await self._say(AgentEventKind.OFFLINE, agents)

    async def settled(self, settled: Settled) -> None:
        """Whoever holds polls has work. The agents need not be told: it is they who do not run these jobs."""
        await self.publish(Channel.JOB_QUEUE, [_wakeup(job) for job in settled.requeued])
        await self.append(Stream.JOBS, list(_events(settled)))

    async def _say(self, kind: AgentEventKind, agents: Iterable[AgentId]) -> None:
        await self.append(Stream.AGENTS, [AgentEvent(kind=kind, agent_id=agent) for agent in agents])


def _wakeup(job: Requeued) -> JobQueued:
    wanted = job.requirement
    return JobQueued(
        capabilities=tuple(sorted(wanted.capabilities)), tool=wanted.tool, preferred_region=wanted.preferred_region
    )


def _events(settled: Settled) -> Iterator[JobEvent]:
    for kind, ended in ((JobEventKind.REQUEUED, settled.requeued), (JobEventKind.FAILED, settled.failed)):
        for a in ended:
            yield JobEvent(kind=kind, job_id=a.job, tenant_id=a.tenant, agent_id=a.agent, attempt=a.attempt)
