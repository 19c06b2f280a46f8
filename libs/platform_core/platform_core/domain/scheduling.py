"""The rule that hands out jobs (docs/scheduling.md): a snapshot goes in, hand-outs come out.

Fairness between tenants comes first, the published priority inside it. This is the rule itself, not a picture of it:
the dispatcher's claim loads a snapshot, calls `hand_out`, and writes down what it says.

Times are seconds since any fixed instant, the same for the whole snapshot.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import floor, inf

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
    """A tenant as it stands: its weight is also its cap on jobs held; ``cost`` is what its next hand-out is charged."""

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


def hand_out(snapshot: Snapshot) -> Decision:
    """Fill the offered slots one after another: the executable model of the rule.

    V, S and the shares are frozen at the start; everything else follows the hand-outs made earlier in the batch.
    """
    queue = _Queue(snapshot)
    turns, virtual_times = _join(snapshot, queue)
    ledger = _Ledger(snapshot, turns, _shares(snapshot, queue))
    slots = _Slots(snapshot)
    handed_out: list[HandOut] = []
    while (offer := slots.take()) is not None:
        job = ledger.best(queue.firsts(offer.profile), offer.profile)
        if job is None:
            continue
        queue.remove(job)
        slots.filled()
        handed_out.append(ledger.enter(job, offer))
    contending = frozenset(t for t in snapshot.tenants if ledger.below_cap(t) and queue.servable_on(t))
    return Decision(handed_out, ledger.turns, contending, virtual_times)


def charge(*, cost: float, weight: int) -> float:
    """What a hand-out adds to its tenant's turn, in rounds: in a round of average jobs a free tenant gets one."""
    return cost * 2 / weight


class _Ledger:
    """Who holds how much, and whose turn it is, as the batch goes on."""

    def __init__(
        self, snapshot: Snapshot, turns: dict[TenantId, float], shares: Mapping[tuple[int, TenantId], float]
    ) -> None:
        self.turns = turns
        self._now = snapshot.now
        self._tenants = snapshot.tenants
        self._shares = shares
        self._held = {t: tenant.running for t, tenant in snapshot.tenants.items()}
        self._held_on = {t: defaultdict(int, tenant.running_on) for t, tenant in snapshot.tenants.items()}

    def below_cap(self, t: TenantId) -> bool:
        return self._held[t] < self._tenants[t].weight

    def best(self, firsts: Iterable[QueuedJob], g: int) -> QueuedJob | None:
        """Of the tenants' first jobs: below its share, then lower round, then published order."""
        return min(
            (job for job in firsts if self.below_cap(job.tenant)), key=lambda job: self._key(job, g), default=None
        )

    def enter(self, job: QueuedJob, offer: Offer) -> HandOut:
        tenant = self._tenants[job.tenant]
        self._held[job.tenant] += 1
        self._held_on[job.tenant][offer.profile] += 1
        self.turns[job.tenant] += charge(cost=tenant.cost, weight=tenant.weight)
        return HandOut(job.job, job.tenant, offer.agent, offer.profile, tenant.cost)

    def _key(self, job: QueuedJob, g: int) -> tuple[bool, int, tuple[int, float, int]]:
        t = job.tenant
        return (self._held_on[t][g] >= self._shares[g, t], floor(self.turns[t]), job.rank(self._now))


class _Slots:
    """The offered slots: the least loaded agent first, then the least capable, then the longest wait, then id.

    An agent may offer by several polls at once (its answer was lost, say): its load counts over all of them.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._offers = snapshot.offers
        self._profiles = snapshot.profiles
        self._taken: dict[AgentId, int] = defaultdict(int)
        self._wanted = [offer.wanted for offer in snapshot.offers]
        self._last = -1
        self._heap: list[tuple[float, int, float, int, int]] = []
        for place in range(len(snapshot.offers)):
            self._push(place)

    def take(self) -> Offer | None:
        """The next slot; the caller says `filled` when it gave it a job."""
        while self._heap:
            load, *_, place = heapq.heappop(self._heap)
            offer = self._offers[place]
            if load == self._load(offer):
                self._last = place
                return offer
            self._push(place)
        return None

    def filled(self) -> None:
        """The slot taken last was filled; the offer's other slots stand in line again."""
        self._taken[self._offers[self._last].agent] += 1
        self._wanted[self._last] -= 1
        self._push(self._last)

    def _load(self, offer: Offer) -> float:
        return (offer.running + self._taken[offer.agent]) / offer.max_concurrent

    def _push(self, place: int) -> None:
        offer = self._offers[place]
        load = self._load(offer)
        if self._wanted[place] > 0 and load < 1:
            breadth = self._profiles[offer.profile].breadth
            heapq.heappush(self._heap, (load, breadth, offer.waiting_since, offer.agent.int, place))


class _Queue:
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

    def firsts(self, g: int) -> Iterator[QueuedJob]:
        """The best job of every tenant that has one for g."""
        return (job for t in self._tenants_of[g] if (job := self.first(t, g)) is not None)

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


def _join(snapshot: Snapshot, queue: _Queue) -> tuple[dict[TenantId, float], dict[int, float]]:
    """Lift tenants that start to wait, or are servable again, to the virtual time; return all turns and every V_g.

    Nobody saves up credit while idle; a tenant that waited and could be served since the last claim is not moved.
    """
    turns = {t: tenant.turn for t, tenant in snapshot.tenants.items()}
    servable = {t: queue.servable_on(t) for t, tenant in snapshot.tenants.items() if tenant.running < tenant.weight}
    staying = {t: on for t, on in servable.items() if snapshot.tenants[t].contending}
    before = _virtual_times(snapshot, turns, staying)
    for t, on in servable.items():
        if on and t not in staying:
            turns[t] = max(turns[t], min(before[g] for g in on))
    return turns, _virtual_times(snapshot, turns, servable)


def _virtual_times(
    snapshot: Snapshot, turns: Mapping[TenantId, float], servable: Mapping[TenantId, Sequence[int]]
) -> dict[int, float]:
    """V_g: the lowest round among the waiting, uncapped tenants that g can serve; it never goes back."""
    lowest: dict[int, float] = defaultdict(lambda: inf)
    for t, on in servable.items():
        for g in on:
            lowest[g] = min(lowest[g], floor(turns[t]))
    stored = {g: snapshot.virtual_times.get(g, 0.0) for g in snapshot.profiles}
    return {g: max(v, lowest[g]) if lowest[g] < inf else v for g, v in stored.items()}


def _shares(snapshot: Snapshot, queue: _Queue) -> dict[tuple[int, TenantId], float]:
    """share_g(t): the slots of g, by weight, among the tenants that are active in g."""
    shares: dict[tuple[int, TenantId], float] = {}
    for g in snapshot.profiles:
        waiting = {t for t in queue.waiting_for(g) if snapshot.tenants[t].running < snapshot.tenants[t].weight}
        active = waiting | {t for t, tenant in snapshot.tenants.items() if tenant.running_on.get(g)}
        total = sum(snapshot.tenants[t].weight for t in active)
        for t in active:
            shares[g, t] = snapshot.slots.get(g, 0) * snapshot.tenants[t].weight / total
    return shares
