"""What agents report about their jobs, in group commits, and what follows a commit: events, wake-ups, counts."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from dispatcher.broker import Broker
from platform_core.domain.attempts import AttemptOutcome
from platform_core.domain.errors import JobCancelled
from platform_core.domain.jobs import JobStatus
from platform_core.wire.events import JobEventKind
from platform_server.assembly.announcer import Announcer
from platform_server.kit import metrics
from platform_server.kit.batching import Batch, Flush
from platform_server.store import attempts, presence
from platform_server.store.attempts import Ended, Held, Outcome, ProgressNote, Report
from platform_server.store.claims import HandedOut
from platform_server.store.connection import Conn, Pool, retry_deadlock, transaction

Item = TypeVar("Item")


class Reports:
    """Acks, progress, results and releases. Each raises why the store refused it."""

    def __init__(self, pool: Pool, broker: Broker, announcer: Announcer) -> None:
        self._pool = pool
        self._broker = broker
        self._announcer = announcer
        self._acks: Batch[Held, Report] = Batch(self._in_one_transaction(attempts.ack))
        self._progress: Batch[ProgressNote, Report] = Batch(self._in_one_transaction(_note_progress))
        self._results: Batch[Outcome, Report] = Batch(self._in_one_transaction(attempts.complete), max_size=64)

    async def ack(self, held: Held) -> Report:
        report = await self._acks.add(held)
        await self._tell(JobEventKind.STARTED, held, report)
        return report

    async def progress(self, note: ProgressNote) -> Report:
        return await self._progress.add(note)

    async def finish(self, outcome: Outcome) -> Report:
        """A result for a cancelled job is refused with JobCancelled, and confirms that the agent stopped."""
        try:
            report = await self._results.add(outcome)
        except JobCancelled:
            await self._confirm(outcome.held)
            raise
        metrics.ATTEMPTS.labels(report.status).inc()
        self._broker.slots_freed(1)
        kind = JobEventKind.COMPLETED if report.status is JobStatus.COMPLETED else JobEventKind.FAILED
        await self._tell(kind, outcome.held, report)
        return report

    async def release(self, held: Held) -> Report:
        """The job goes back to the queue; spends no retry. For a cancelled job this confirms that the agent stopped."""
        try:
            async with transaction(self._pool) as conn:
                before = await attempts.check(conn, held)
                requeued = await attempts.release(conn, held)
        except JobCancelled:
            await self._confirm(held)
            raise
        metrics.ATTEMPTS.labels(AttemptOutcome.RELEASED).inc()
        await self._announcer.requeued([requeued])
        return before

    async def put_back(self, jobs: Sequence[HandedOut]) -> None:
        """Nobody waits for these any more: back to the queue at once, not after a deadline; spends no retry."""
        ended = [Ended(h.job, h.attempt, AttemptOutcome.PUT_BACK, "the poll was gone before the answer") for h in jobs]
        if not ended:
            return
        async with transaction(self._pool) as conn:
            requeued = await attempts.requeue(conn, ended)
        for _ in requeued:
            metrics.ATTEMPTS.labels(AttemptOutcome.PUT_BACK).inc()
        await self._announcer.requeued(requeued)

    async def _tell(self, kind: JobEventKind, held: Held, report: Report) -> None:
        await self._announcer.happened(kind, held.job, report.tenant, agent=held.agent, attempt=held.attempt)

    async def _confirm(self, held: Held) -> None:
        async with transaction(self._pool) as conn:
            await attempts.confirm_cancelled(conn, held.agent, [held.job])
        self._broker.slots_freed(1)

    def _in_one_transaction(
        self, write: Callable[[Conn, Sequence[Item]], Awaitable[list[Report | Exception]]]
    ) -> Flush[Item, Report]:
        async def flush(items: Sequence[Item]) -> Sequence[Report | Exception]:
            async def once() -> list[Report | Exception]:
                async with transaction(self._pool) as conn:
                    return await write(conn, items)

            return await retry_deadlock(once)

        return flush


async def _note_progress(conn: Conn, notes: Sequence[ProgressNote]) -> list[Report | Exception]:
    """Progress keeps the agent alive too, also when it comes too late for the job."""
    reports = await attempts.progress(conn, notes)
    await presence.note_seen(conn, {note.held.agent for note in notes})
    return reports
