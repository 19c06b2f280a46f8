"""The jobs that wait, as the rule sees them: lanes, and what the head of each may do."""

from collections import defaultdict
from collections.abc import Iterable

from platform_core.domain.ids import TenantId
from platform_core.domain.scheduling import QueuedJob, Requirement, Snapshot, fits


class Queue:
    """The queued jobs in lanes (tenant, base, requirement), each a FIFO whose head has the best priority in it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._lanes: dict[TenantId, dict[tuple[int, int], list[QueuedJob]]] = defaultdict(lambda: defaultdict(list))
        for job in sorted(snapshot.queued, key=lambda j: (j.queued_at, j.job.int), reverse=True):
            self._lanes[job.tenant][job.base, job.requirement].append(job)
        self._fitting = {
            (r, g): fits(requirement, profile)
            for r, requirement in snapshot.requirements.items()
            for g, profile in snapshot.profiles.items()
        }
        self._home = {r: self._has_home(r, requirement) for r, requirement in snapshot.requirements.items()}
        self._tenants_of = {g: self._waiting(g) for g in snapshot.profiles}

    def waiting_for(self, g: int) -> Iterable[TenantId]:
        """Tenants that had a job for g when the batch began."""
        return self._tenants_of[g]

    def first(self, tenant: TenantId, g: int) -> QueuedJob | None:
        """The tenant's best job that may go to g now."""
        now = self._snapshot.now
        heads = (lane[-1] for lane in self._lanes[tenant].values() if lane)
        return min((job for job in heads if self._may_go(job, g)), key=lambda job: job.rank(now), default=None)

    def remove(self, job: QueuedJob) -> None:
        self._lanes[job.tenant][job.base, job.requirement].pop()

    def servable_on(self, tenant: TenantId) -> list[int]:
        """The profiles with slots that could take a job of the tenant's now."""
        return [g for g, slots in self._snapshot.slots.items() if slots and self.first(tenant, g) is not None]

    def _waiting(self, g: int) -> list[TenantId]:
        return [t for t in self._lanes if t in self._snapshot.tenants and self.first(t, g) is not None]

    def _may_go(self, job: QueuedJob, g: int) -> bool:
        """Delay scheduling: a job is kept for its region for a while, if somebody there can run it."""
        if not self._fitting[job.requirement, g]:
            return False
        region = self._snapshot.requirements[job.requirement].preferred_region
        at_home = region is None or region == self._snapshot.profiles[g].region
        patient = self._snapshot.now - job.queued_at < self._snapshot.patience
        return at_home or not (patient and self._home[job.requirement])

    def _has_home(self, r: int, requirement: Requirement) -> bool:
        return any(
            slots > 0 and self._fitting[r, g] and self._snapshot.profiles[g].region == requirement.preferred_region
            for g, slots in self._snapshot.slots.items()
        )
