"""PlatformQueueWorker: recovery, expiry, stored priorities, archive, retention. Each step is one bounded batch."""

from datetime import timedelta
from typing import Final

from platform_core.wire.events import AgentEvent, AgentEventKind, ControlKind, JobEventKind
from platform_server.assembly.announcer import Announcer
from platform_server.assembly.workers import Acting
from platform_server.kit import logs, metrics
from platform_server.signals.streams import Reader
from platform_server.store import archive, sweeps
from platform_server.store.sweeps import FRONT, Deadlines
from queue_maintenance.settings import Settings

log = logs.logger(__name__)

_BATCH: Final = 200
_STRETCH: Final = 1000
_ARCHIVED: Final = 1000
# After these an agent holds nothing for long.
_GONE: Final = frozenset({AgentEventKind.OFFLINE, AgentEventKind.DISABLED, AgentEventKind.DELETED})


class QueueWorker:
    """Its steps write under the lease, and raise NotActing when another replica has it."""

    def __init__(self, acting: Acting, announcer: Announcer, settings: Settings) -> None:
        self.acting = acting
        self._announcer = announcer
        self._settings = settings
        self._place = FRONT
        self._archived_until = archive.FRONT

    async def recover(self) -> int:
        """Stuck jobs go back to the queue, or fail when their retries are spent."""
        deadlines = Deadlines(
            ack=timedelta(seconds=self._settings.ack_deadline_seconds),
            silence=timedelta(seconds=self._settings.silence_seconds),
        )
        async with self.acting.transaction() as conn:
            lost = await sweeps.lock_lost(conn, deadlines, limit=_BATCH)
            settled = await sweeps.settle(conn, lost, max_retries=self._settings.max_retries)
        reasons = {attempt.job: attempt for attempt in lost}
        for a in settled.ended:
            outcome, reason = reasons[a.job].outcome, reasons[a.job].reason
            metrics.ATTEMPTS.labels(outcome).inc()
            log.info("attempt_lost", job=a.job, tenant=a.tenant, agent=a.agent, attempt=a.attempt, reason=reason)
        await self._announcer.stop(ControlKind.LOST, ((a.agent, a.job) for a in settled.ended))
        await self._announcer.requeued(settled.requeued)
        self._announcer.attempted(JobEventKind.FAILED, settled.failed)
        return len(settled.ended)

    async def follow(self, events: Reader[AgentEvent]) -> int:
        """Recover at once when an agent is said to be gone. A hint: what the database says of the agent decides."""
        if not self.acting.held:
            return 0
        told = await events.read()
        if any(event.kind in _GONE for _, event in told):
            while await self.recover():
                pass
        await events.done([entry for entry, _ in told])
        return len(told)

    async def free_unconfirmed(self) -> int:
        """An agent that does not confirm a cancel in time has its slot back all the same."""
        after = timedelta(seconds=self._settings.cancel_confirmation_seconds)
        async with self.acting.transaction() as conn:
            return await sweeps.free_unconfirmed(conn, after=after, limit=_BATCH)

    async def expire(self) -> int:
        """Jobs that waited too long end."""
        after = timedelta(seconds=self._settings.queue_max_age_seconds)
        async with self.acting.transaction() as conn:
            expired = await sweeps.expire(conn, after=after, limit=_BATCH)
        for job in expired:
            log.info("job_expired", job=job.job, tenant=job.tenant)
            self._announcer.happened(JobEventKind.EXPIRED, job.job, job.tenant, attempt=job.attempt)
        return len(expired)

    async def refresh_priorities(self) -> int:
        """The stored priorities follow the published formula: one walk through the queue an interval."""
        async with self.acting.transaction() as conn:
            _, place = await sweeps.refresh_priorities(conn, self._place, limit=_STRETCH)
        self._place = place or FRONT
        return 0 if place is None else _STRETCH

    async def reconcile(self) -> int:
        """What the claim keeps in mind agrees with the jobs that wait, or is mended and counted."""
        async with self.acting.transaction() as conn:
            mended = await sweeps.wake_forgotten_lanes(conn, limit=_BATCH)
        if mended:
            metrics.REPAIRS.inc(mended)
            log.error("lanes_were_forgotten", lanes=mended)
        return mended

    async def archive_in_batches(self) -> int:
        """What is less than a full batch can wait: to go on at once for each that comes of age is a commit for each."""
        moved = await self.archive()
        return moved if moved == _ARCHIVED else 0

    async def archive(self) -> int:
        """Jobs that are over leave the table of those that wait and run. Retention has it look at the oldest again."""
        after = timedelta(seconds=self._settings.archive_after_seconds)
        async with self.acting.transaction() as conn:
            moved, until = await archive.move_finished(conn, self._archived_until, after=after, limit=_ARCHIVED)
        self._archived_until = until
        metrics.ARCHIVED.inc(moved)
        return moved

    async def retain(self) -> int:
        """What is older than its retention goes."""
        self._archived_until = archive.FRONT
        jobs = timedelta(days=self._settings.job_retention_days)
        keys = timedelta(seconds=self._settings.idempotency_seconds)
        async with self.acting.transaction() as conn:
            deleted = await archive.delete_old(conn, after=jobs, limit=_BATCH)
            deleted += await sweeps.delete_idempotency_keys(conn, after=keys, limit=_BATCH)
            return deleted + await sweeps.delete_ended(conn)
