"""Snapshots for tests of the rule: small, and everything in them by number."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.rule import hand_out
from platform_core.domain.scheduling import Offer, Profile, QueuedJob, Requirement, Snapshot, Tenant

ANYTHING = Requirement(frozenset(), None, None)
GENERALIST = Profile(frozenset({"bandit", "nuclei"}), frozenset({"bandit", "nuclei"}), "local")
SPECIALIST = Profile(frozenset({"bandit"}), frozenset({"bandit"}), "local")
NOW = 1_000_000.0
CRITICAL, HIGH, NORMAL, LOW = 1000, 750, 500, 250


def tenant_id(n: int) -> TenantId:
    return TenantId(UUID(int=n))


def job(n: int, *, tenant: int = 1, base: int = NORMAL, waited: float = 0.0, requirement: int = 0) -> QueuedJob:
    return QueuedJob(JobId(UUID(int=n)), tenant_id(tenant), base, NOW - waited, requirement)


def offer(n: int = 1, *, profile: int = 0, running: int = 0, slots: int = 10, wanted: int = 1) -> Offer:
    return Offer(AgentId(UUID(int=n)), profile, running, slots, wanted, waiting_since=float(n))


def tenant(*, weight: int = 10, running: int = 0, turn: float = 0.0, contending: bool = False) -> Tenant:
    return Tenant(weight, running, {0: running} if running else {}, turn, contending, cost=1.0)


def snapshot(
    jobs: Sequence[QueuedJob],
    offers: Sequence[Offer],
    *,
    tenants: Mapping[int, Tenant] | None = None,
    profiles: Mapping[int, Profile] | None = None,
    requirements: Mapping[int, Requirement] | None = None,
    slots: Mapping[int, int] | None = None,
    virtual_times: Mapping[int, float] | None = None,
) -> Snapshot:
    return Snapshot(
        now=NOW,
        patience=30.0,
        profiles=profiles or {0: GENERALIST},
        requirements=requirements or {0: ANYTHING},
        slots=slots or {0: 10},
        virtual_times=virtual_times or {},
        tenants={tenant_id(n): t for n, t in (tenants or {1: tenant()}).items()},
        queued=jobs,
        offers=offers,
    )


def order_of(taken: Snapshot) -> list[int]:
    return [h.job.int for h in hand_out(taken).handed_out]
