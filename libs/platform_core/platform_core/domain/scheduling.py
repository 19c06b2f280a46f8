"""The terms of the rule that hands out jobs (docs/scheduling.md): what it looks at, and what it says.

`rule.hand_out` is the rule. Times are seconds since any fixed instant, the same for the whole snapshot.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor

from platform_core.domain.ids import AgentId, JobId, TenantId

AGE_POINT_SECONDS = 6.0
MAX_AGE_BONUS = 500


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a job asks of an agent. The region is a preference; the rest is not."""

    capabilities: frozenset[str]
    tool: str | None
    preferred_region: str | None


@dataclass(frozen=True, slots=True)
class Profile:
    """What a poll offers."""

    capabilities: frozenset[str]
    tools: frozenset[str]
    region: str

    @property
    def breadth(self) -> int:
        """How much it can do: a generalist's is larger."""
        return len(self.capabilities) + len(self.tools)


def fits(requirement: Requirement, profile: Profile) -> bool:
    """Can an agent of this profile run the job? Its region is not asked: a preference never makes a job unfit."""
    return requirement.capabilities <= profile.capabilities and (
        requirement.tool is None or requirement.tool in profile.tools
    )


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job that waits. ``base`` is the published base priority; ``requirement`` a key of the snapshot's."""

    job: JobId
    tenant: TenantId
    base: int
    queued_at: float
    requirement: int

    def priority(self, now: float) -> int:
        """P(job, now): base plus ten points a minute, at most 500 (specification, "Queue Priority")."""
        waited = max(0.0, now - self.queued_at)
        return self.base + min(floor(waited / AGE_POINT_SECONDS), MAX_AGE_BONUS)

    def rank(self, now: float) -> tuple[int, float, int]:
        """Published order: the lower goes first."""
        return (-self.priority(now), self.queued_at, self.job.int)


@dataclass(frozen=True, slots=True)
class Offer:
    """A waiting poll: ``wanted`` more jobs for an agent that holds ``running`` of ``max_concurrent``."""

    agent: AgentId
    profile: int
    running: int
    max_concurrent: int
    wanted: int
    waiting_since: float


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant as it stands: its weight is also its cap on jobs held; ``cost`` is what its next hand-out is charged.

    ``contending``: when the last batch ended, it had a job left that some agent could run.
    """

    weight: int
    running: int
    running_on: Mapping[int, int]
    turn: float
    contending: bool
    cost: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the rule looks at.

    ``slots`` is S_g: the slots of online, enabled, non-draining agents by profile. ``virtual_times`` is V_g as last
    written. ``queued`` may leave out jobs that stand behind enough others of their tenant, base and requirement.
    """

    now: float
    patience: float
    profiles: Mapping[int, Profile]
    requirements: Mapping[int, Requirement]
    slots: Mapping[int, int]
    virtual_times: Mapping[int, float]
    tenants: Mapping[TenantId, Tenant]
    queued: Sequence[QueuedJob]
    offers: Sequence[Offer]


@dataclass(frozen=True, slots=True)
class HandOut:
    """One job for one agent, and the cost that it was charged."""

    job: JobId
    tenant: TenantId
    agent: AgentId
    profile: int
    cost: float


@dataclass(frozen=True, slots=True)
class Decision:
    """The hand-outs in their order, and the virtual times after them."""

    handed_out: Sequence[HandOut]
    turns: Mapping[TenantId, float]
    contending: frozenset[TenantId]
    virtual_times: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Standing:
    """How tenants stand at the start of a batch, and for the whole of it.

    ``turns`` after those who start to wait were lifted; ``shares`` by (profile, tenant); ``virtual_times``: every V_g.
    """

    turns: Mapping[TenantId, float]
    virtual_times: Mapping[int, float]
    shares: Mapping[tuple[int, TenantId], float]


def charge(*, cost: float, weight: int) -> float:
    """What a hand-out adds to its tenant's turn, in rounds: in a round of average jobs a free tenant gets one."""
    return cost * 2 / weight
