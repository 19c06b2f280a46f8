"""What agents report about their jobs, in group commits, and what follows a commit: events, wake-ups, counts."""

from collections.abc import Awaitable, Callable, Sequence
from operator import attrgetter
from typing import TypeVar

from dispatcher.broker import Broker
from dispatcher.signs import Signs
from platform_core.domain.attempts import AttemptOutcome
from platform_core.domain.errors import JobCancelled
from platform_core.domain.jobs import JobStatus
from platform_core.wire.events import JobEventKind
from platform_server.assembly.announcer import Announcer
from platform_server.kit import metrics
from platform_server.kit.batching import Batch, Flush
from platform_server.store import attempts
from platform_server.store.attempts import Held, Outcome, ProgressNote, Report
from platform_server.store.connection import Conn, Pool, acquire, retry_deadlock, transaction

Item = TypeVar("Item")


class Reports:
    """Acks, progress, results and releases. Each raises why the store refused it, and is a sign of life even then."""

    def __init__(self, pool: Pool, broker: Broker, announcer: Announcer, signs: Signs) -> None:
        self._pool = pool
        self._broker = broker
        self._announcer = announcer
        self._signs = signs
        self._acks: Batch[Held, Report] = Batch(self._flushed(attempts.ack, lambda held: held))
        self._progress: Batch[ProgressNote, Report] = Batch(self._flushed(attempts.progress, attrgetter("held")))
        self._results: Batch[Outcome, Report] = Batch(self._flushed(attempts.complete, attrgetter("held")), max_size=64)

    async def ack(self, held: Held) -> Report:
        report = await self._acks.add(held)
        if not report.repeated:
            self._tell(JobEventKind.STARTED, held, report)
        return report

    async def progress(self, note: ProgressNote) -> Report:
        return await self._progress.add(note)

    async def finish(self, outcome: Outcome) -> Report:
        """A result for a cancelled job is refused with JobCancelled, and confirms that the agent stopped."""
        try:
            report = await self._results.add(outcome)
        except JobCancelled:
            await self._confirm_stopped(outcome.held)
            raise
        if not report.repeated:
            metrics.ATTEMPTS.labels(report.status).inc()
            self._broker.slots_freed()
            kind = JobEventKind.COMPLETED if report.status is JobStatus.COMPLETED else JobEventKind.FAILED
            self._tell(kind, outcome.held, report)
        return report

    async def release(self, held: Held) -> Report:
        """The job goes back to the queue; spends no retry. For a cancelled job this confirms that the agent stopped."""
        self._signs.heard([held.agent])
        try:
            async with transaction(self._pool) as conn:
                requeued = await attempts.release(conn, held)
                report = await attempts.as_it_stands(conn, held.job)
        except JobCancelled:
            return await self._confirm_stopped(held)
        metrics.ATTEMPTS.labels(AttemptOutcome.RELEASED).inc()
        self._broker.slots_freed()
        await self._announcer.requeued([requeued])
        return report

    def _tell(self, kind: JobEventKind, held: Held, report: Report) -> None:
        self._announcer.happened(kind, held.job, report.tenant, agent=held.agent, attempt=held.attempt)

    async def _confirm_stopped(self, held: Held) -> Report:
        async with transaction(self._pool) as conn:
            await attempts.confirm_cancelled(conn, held.agent, [held.job])
            report = await attempts.as_it_stands(conn, held.job)
        self._broker.slots_freed()
        return report

    def _flushed(
        self,
        write: Callable[[Conn, Sequence[Item]], Awaitable[list[Report | Exception]]],
        held: Callable[[Item], Held],
    ) -> Flush[Item, Report]:
        async def flush(items: Sequence[Item]) -> Sequence[Report | Exception]:
            async def once() -> list[Report | Exception]:
                # One statement is a transaction of its own.
                async with acquire(self._pool) as conn:
                    return await write(conn, items)

            self._signs.heard(held(item).agent for item in items)
            return await retry_deadlock(once)

        return flush
