"""PlatformQueueWorker: recovery, expiry, stored priorities, retention. Each step is one bounded batch."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from msgspec import Struct

from platform_core.domain.ids import AgentId
from platform_core.wire.events import (
    AgentControl,
    AgentEvent,
    AgentEventKind,
    ControlKind,
    JobEvent,
    JobEventKind,
    JobQueued,
)
from platform_server.kit import logs, metrics
from platform_server.signals.streams import Reader, Stream
from platform_server.signals.wakeups import Channel
from platform_server.store import sweeps
from platform_server.store.connection import Pool, acquire
from platform_server.store.leases import Lease, NotActing
from platform_server.store.sweeps import Deadlines, Settled
from queue_maintenance.settings import Settings

log = logs.logger(__name__)

_BATCH: Final = 200


@dataclass(frozen=True, slots=True)
class Signals:
    """Redis, bound to its connection; nothing of it raises."""

    publish: Callable[[Channel, Sequence[Struct]], Awaitable[bool]]
    append: Callable[[Stream, Sequence[Struct]], Awaitable[bool]]


class QueueWorker:
    """Its steps write under the lease; a replica that does not act does nothing and says 0."""

    def __init__(self, pool: Pool, lease: Lease, signals: Signals, settings: Settings) -> None:
        self._pool = pool
        self._lease = lease
        self._signals = signals
        self._settings = settings
        self._deadlines = Deadlines(
            ack=timedelta(seconds=settings.ack_deadline_seconds), silence=timedelta(seconds=settings.silence_seconds)
        )

    async def renew(self) -> int:
        """Take the lease or keep it."""
        held = self._lease.epoch is not None
        async with acquire(self._pool) as conn:
            acting = await self._lease.renew(conn)
        if held and not acting:
            metrics.LEASES_EXPIRED.labels(self._lease.name).inc()
        return 0

    async def recover(self) -> int:
        """Stuck jobs go back to the queue, or fail when their retries are spent."""
        try:
            async with self._lease.acting(self._pool) as conn:
                settled = await sweeps.recover(
                    conn, self._deadlines, max_retries=self._settings.max_retries, limit=_BATCH
                )
                confirmation = timedelta(seconds=self._settings.cancel_confirmation_seconds)
                freed = await sweeps.free_unconfirmed(conn, after=confirmation, limit=_BATCH)
        except NotActing:
            return 0
        await self._announce(settled)
        return len(settled.ended) + freed

    async def recover_from(self, agent: AgentId) -> int:
        """An agent was said to be offline: its jobs go back at once."""
        async with self._lease.acting(self._pool) as conn:
            settled = await sweeps.recover_from_agent(conn, agent, max_retries=self._settings.max_retries)
        await self._announce(settled)
        return len(settled.ended)

    async def follow(self, events: Reader[AgentEvent]) -> int:
        """Read agents' events. What is not read for want of a lease is read by whoever acts."""
        if self._lease.epoch is None:
            return 0
        told = await events.read()
        try:
            for _, event in told:
                if event.kind is AgentEventKind.OFFLINE:
                    await self.recover_from(AgentId(event.agent_id))
        except NotActing:
            return 0
        await events.done([entry for entry, _ in told])
        return len(told)

    async def expire(self) -> int:
        """Jobs that waited too long end."""
        try:
            async with self._lease.acting(self._pool) as conn:
                after = timedelta(seconds=self._settings.queue_max_age_seconds)
                expired = await sweeps.expire(conn, after=after, limit=_BATCH)
        except NotActing:
            return 0
        events = [
            JobEvent(kind=JobEventKind.EXPIRED, job_id=e.job, tenant_id=e.tenant, attempt=e.attempt) for e in expired
        ]
        await self._signals.append(Stream.JOBS, events)
        return len(expired)

    async def refresh_priorities(self) -> int:
        """The stored priority follows the published formula."""
        try:
            async with self._lease.acting(self._pool) as conn:
                refreshed = await sweeps.refresh_priorities(conn, limit=_BATCH)
        except NotActing:
            return 0
        # Rows that others hold are passed over and come next time, so less than a full batch is the end.
        return refreshed if refreshed == _BATCH else 0

    async def retain(self) -> int:
        """What is older than its retention goes."""
        try:
            async with self._lease.acting(self._pool) as conn:
                after = timedelta(days=self._settings.job_retention_days)
                deleted = await sweeps.delete_finished(conn, after=after, limit=_BATCH)
                await sweeps.delete_leftovers(conn)
        except NotActing:
            return 0
        return deleted

    async def tell(self) -> int:
        """The gauges of the queue, told by the acting replica."""
        if self._lease.epoch is None:
            metrics.JOBS.clear()
            return 0
        async with acquire(self._pool) as conn:
            told = await sweeps.open_jobs(conn)
        for state in ("queued", "assigned", "running"):
            metrics.JOBS.labels(state).set(told.get(state, (0, 0.0))[0])
        metrics.OLDEST_WAIT.set(told.get("queued", (0, 0.0))[1])
        return 0

    async def _announce(self, settled: Settled) -> None:
        """Tell the agents that they lost these jobs, and the dispatchers that there is work."""
        for a in settled.ended:
            metrics.ATTEMPTS.labels("lost").inc()
            log.info("attempt_lost", job=a.job, tenant=a.tenant, agent=a.agent, attempt=a.attempt)
        lost = [AgentControl(kind=ControlKind.LOST, agent_id=a.agent, job_id=a.job) for a in settled.ended]
        await self._signals.publish(Channel.AGENT_CONTROL, lost)
        wakeups = [
            JobQueued(
                capabilities=tuple(sorted(job.requirement.capabilities)),
                tool=job.requirement.tool,
                preferred_region=job.requirement.preferred_region,
            )
            for job in settled.requeued
        ]
        await self._signals.publish(Channel.JOB_QUEUE, wakeups)
        await self._signals.append(Stream.JOBS, list(_events(settled)))


def _events(settled: Settled) -> Iterator[JobEvent]:
    for kind, ended in ((JobEventKind.REQUEUED, settled.requeued), (JobEventKind.FAILED, settled.failed)):
        for a in ended:
            yield JobEvent(kind=kind, job_id=a.job, tenant_id=a.tenant, agent_id=a.agent, attempt=a.attempt)
