"""The flood under the published order alone, on the model's own priorities."""

from collections import deque
from uuid import UUID

from platform_core.domain.ids import JobId, TenantId
from platform_core.domain.scheduling import QueuedJob

CRITICAL, LOW = 1000, 250
# What the flooding tenant keeps queued.
BACKLOG = 300


def served_by_published_order(rate: float, *, seconds: float, flood: int) -> float:
    """The fraction of the quiet tenant's jobs that are served at all, at so many hand-outs a second.

    After each ``flood`` jobs of the other tenant it submits one.
    """
    flooding = deque(_job(n, CRITICAL, at=0.0) for n in range(BACKLOG))
    quiet: deque[QueuedJob] = deque()
    asked = served = 0
    for n in range(int(rate * seconds)):
        now = n / rate
        if n % flood == 0:
            quiet.append(_job(n, LOW, at=now))
            asked += 1
        line = min((line for line in (flooding, quiet) if line), key=lambda line: line[0].rank(now))
        line.popleft()
        if line is quiet:
            served += 1
        else:
            flooding.append(_job(n, CRITICAL, at=now))
    return served / max(1, asked)


def _job(n: int, base: int, *, at: float) -> QueuedJob:
    return QueuedJob(JobId(UUID(int=n)), TenantId(UUID(int=base)), base, at, 0)
