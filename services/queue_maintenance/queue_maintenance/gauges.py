"""The gauges of the queue, told by the acting replica only."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from prometheus_client import Gauge

from platform_core.domain.ids import TenantId
from platform_core.domain.jobs import HELD, JobStatus
from platform_server.assembly.workers import Acting
from platform_server.kit import metrics
from platform_server.store import statistics
from platform_server.store.connection import Pool, acquire

# The one label that could be anything: bounded to the busiest tenants, and one series for all others.
TENANT_JOBS = Gauge("tenant_jobs", "Open jobs of the 100 busiest tenants, and of all others.", ["tenant", "state"])

_BUSIEST: Final = 100
_OTHERS: Final = "other"
# As they are shown, from the queue to the end.
_STATES: Final = (JobStatus.QUEUED, *sorted(HELD))

Jobs = Mapping[tuple[TenantId, JobStatus], int]


class Gauges:
    def __init__(self, pool: Pool, acting: Acting) -> None:
        self._pool = pool
        self._acting = acting

    async def tell(self) -> int:
        """A step. A replica that does not act tells nothing, so that sums over replicas are right."""
        if not self._acting.held:
            metrics.JOBS.clear()
            metrics.OLDEST_WAIT.set(0)
            TENANT_JOBS.clear()
            return 0
        async with acquire(self._pool) as conn:
            open_jobs = await statistics.open_jobs(conn)
            of_tenants = await statistics.open_jobs_of_tenants(conn)
        for state in _STATES:
            metrics.JOBS.labels(state).set(open_jobs[state].jobs if state in open_jobs else 0)
        queued = open_jobs.get(JobStatus.QUEUED)
        metrics.OLDEST_WAIT.set(queued.oldest_seconds if queued else 0)
        TENANT_JOBS.clear()
        for tenant, state, jobs in shown(of_tenants, busiest=_BUSIEST):
            TENANT_JOBS.labels(tenant, state).set(jobs)
        return 0


def shown(jobs: Jobs, *, busiest: int) -> list[tuple[str, JobStatus, int]]:
    """A number a tenant and state for the busiest tenants, and their sum for the others."""
    totals: Counter[TenantId] = Counter()
    for (tenant, _), number in jobs.items():
        totals[tenant] += number
    named = {tenant for tenant, _ in totals.most_common(busiest)}
    numbers: Counter[tuple[str, JobStatus]] = Counter({(_OTHERS, state): 0 for state in _STATES})
    for (tenant, state), number in jobs.items():
        numbers[str(tenant) if tenant in named else _OTHERS, state] += number
    return [(label, state, number) for (label, state), number in numbers.items()]
