"""What the other services hear, after the commit. With Redis away they learn it from Postgres, a little later."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from msgspec import Struct

from platform_core.wire.events import AgentControl, ControlKind, JobEvent, JobEventKind, JobQueued
from platform_server.signals.streams import Stream
from platform_server.signals.wakeups import Channel
from platform_server.store.attempts import Requeued
from platform_server.store.sweeps import Expired, Settled


@dataclass(frozen=True, slots=True)
class Announcer:
    """``publish`` and ``append`` of signals, bound to the connection; neither raises."""

    publish: Callable[[Channel, Sequence[Struct]], Awaitable[bool]]
    append: Callable[[Stream, Sequence[Struct]], Awaitable[bool]]

    async def settled(self, settled: Settled) -> None:
        """The agents lost these jobs, and whoever holds polls has work."""
        lost = [AgentControl(kind=ControlKind.LOST, agent_id=a.agent, job_id=a.job) for a in settled.ended]
        await self.publish(Channel.AGENT_CONTROL, lost)
        await self.publish(Channel.JOB_QUEUE, [_wakeup(job) for job in settled.requeued])
        await self.append(Stream.JOBS, list(_events(settled)))

    async def expired(self, jobs: Sequence[Expired]) -> None:
        events = [
            JobEvent(kind=JobEventKind.EXPIRED, job_id=e.job, tenant_id=e.tenant, attempt=e.attempt) for e in jobs
        ]
        await self.append(Stream.JOBS, events)


def _wakeup(job: Requeued) -> JobQueued:
    wanted = job.requirement
    return JobQueued(
        capabilities=tuple(sorted(wanted.capabilities)), tool=wanted.tool, preferred_region=wanted.preferred_region
    )


def _events(settled: Settled) -> Iterator[JobEvent]:
    for kind, ended in ((JobEventKind.REQUEUED, settled.requeued), (JobEventKind.FAILED, settled.failed)):
        for a in ended:
            yield JobEvent(kind=kind, job_id=a.job, tenant_id=a.tenant, agent_id=a.agent, attempt=a.attempt)
