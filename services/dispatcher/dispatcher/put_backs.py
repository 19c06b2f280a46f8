"""Jobs claimed for a poll that has gone: back to the queue at once, not after a deadline; no retry is spent."""

import asyncio
from collections.abc import Sequence

from platform_core.domain.attempts import AttemptOutcome
from platform_server.assembly.announcer import Announcer
from platform_server.kit import metrics
from platform_server.store import attempts
from platform_server.store.attempts import Ended
from platform_server.store.claims import HandedOut
from platform_server.store.connection import Pool, transaction


class PutBacks:
    """``work`` is set while some wait."""

    def __init__(self, pool: Pool, announcer: Announcer) -> None:
        self.work = asyncio.Event()
        self._pool = pool
        self._announcer = announcer
        self._waiting: list[HandedOut] = []

    def add(self, jobs: Sequence[HandedOut]) -> None:
        """Nobody waits for these any more."""
        self._waiting.extend(jobs)
        if self._waiting:
            self.work.set()

    async def write(self) -> int:
        """A step: put them back. With Postgres away they stay for the next time; returns how many there were."""
        jobs = list(self._waiting)
        if not jobs:
            return 0
        async with transaction(self._pool) as conn:
            requeued = await attempts.requeue(conn, [_ended(job) for job in jobs])
        del self._waiting[: len(jobs)]
        metrics.ATTEMPTS.labels(AttemptOutcome.PUT_BACK).inc(len(requeued))
        await self._announcer.requeued(requeued)
        return len(jobs)


def _ended(job: HandedOut) -> Ended:
    return Ended(job.job, job.attempt, AttemptOutcome.PUT_BACK, "the poll was gone before the answer")
