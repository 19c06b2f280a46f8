"""The rule of docs/scheduling.md, property by property."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_core.domain import costs, scheduling
from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.rule import hand_out
from platform_core.domain.scheduling import Offer, Profile, QueuedJob, Requirement, Snapshot, Tenant, fits

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


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        (Requirement(frozenset(), None, None), True),
        (Requirement(frozenset({"bandit"}), "bandit", None), True),
        (Requirement(frozenset({"bandit", "nuclei"}), None, None), False),
        (Requirement(frozenset(), "nuclei", None), False),
        (Requirement(frozenset(), "bandit", "elsewhere"), True),
    ],
    ids=[
        "asks for nothing",
        "capability and tool",
        "a capability is missing",
        "the tool is missing",
        "region is no duty",
    ],
)
def test_a_job_fits_when_its_capabilities_and_its_tool_are_offered(requirement: Requirement, expected: bool) -> None:
    assert fits(requirement, SPECIALIST) is expected


def test_inside_one_tenant_the_published_order_holds() -> None:
    jobs = [
        job(1, base=LOW, waited=3000),  # 250 + 500
        job(2, base=NORMAL, waited=0),  # 500
        job(3, base=CRITICAL, waited=0),  # 1000
        job(4, base=HIGH, waited=5),  # 750: five seconds are no point yet; older than the next, younger than job 1
        job(5, base=NORMAL, waited=60),  # 510
    ]
    assert order_of(snapshot(jobs, [offer(wanted=5)])) == [3, 1, 4, 5, 2]


@given(
    st.lists(st.tuples(st.sampled_from([CRITICAL, HIGH, NORMAL, LOW]), st.integers(0, 4000)), min_size=1, max_size=12)
)
def test_a_batch_hands_out_what_single_claims_would(drawn: list[tuple[int, int]]) -> None:
    jobs = [job(n, base=base, waited=waited) for n, (base, waited) in enumerate(drawn, start=1)]
    batch = order_of(snapshot(jobs, [offer(wanted=len(jobs), slots=50)], tenants={1: tenant(weight=50)}))
    singles: list[int] = []
    while len(singles) < len(jobs):
        left = [j for j in jobs if j.job.int not in singles]
        singles += order_of(snapshot(left, [offer(slots=50)], tenants={1: tenant(weight=50)}))
    assert batch == singles


def test_no_hand_out_to_a_tenant_at_its_cap() -> None:
    jobs = [job(n) for n in range(1, 6)]
    decision = hand_out(snapshot(jobs, [offer(wanted=5)], tenants={1: tenant(weight=2, running=1)}))
    assert len(decision.handed_out) == 1


def test_no_hand_out_to_an_agent_over_its_max_concurrent_whatever_its_polls_ask() -> None:
    jobs = [job(n) for n in range(1, 9)]
    twice = [offer(running=1, slots=3, wanted=5), offer(running=1, slots=3, wanted=5)]
    assert len(order_of(snapshot(jobs, twice))) == 2


def test_slots_go_to_the_least_loaded_agent_first() -> None:
    offers = [offer(1, running=5), offer(2, running=1), offer(3, running=0, slots=2, wanted=2)]
    handed = hand_out(snapshot([job(n) for n in range(1, 5)], offers)).handed_out
    assert [h.agent.int for h in handed] == [3, 2, 1, 3]


def test_of_equally_loaded_agents_the_least_capable_is_filled_so_that_generalists_stay_free() -> None:
    offers = [offer(1, profile=0), offer(2, profile=1)]
    taken = snapshot([job(1)], offers, profiles={0: GENERALIST, 1: SPECIALIST}, slots={0: 10, 1: 10})
    assert [h.agent.int for h in hand_out(taken).handed_out] == [2]


def test_shares_are_by_weight() -> None:
    jobs = [job(100 * t + n, tenant=t) for t in (1, 2) for n in range(10)]
    taken = snapshot(
        jobs, [offer(wanted=12, slots=12)], tenants={1: tenant(weight=2), 2: tenant(weight=10)}, slots={0: 12}
    )
    got = Counter(h.tenant.int for h in hand_out(taken).handed_out)
    assert got == {1: 2, 2: 10}


def test_whoever_starts_to_wait_begins_at_the_virtual_time_and_has_saved_nothing_up() -> None:
    jobs = [job(1, tenant=1), job(2, tenant=2)]
    tenants = {1: tenant(turn=40.5, contending=True), 2: tenant(turn=3.0)}
    decision = hand_out(snapshot(jobs, [offer(running=9)], tenants=tenants))
    assert decision.virtual_times == {0: 40.0}
    assert decision.turns[tenant_id(2)] >= 40.0


def test_whoever_waits_and_could_be_served_is_never_moved() -> None:
    jobs = [job(1, tenant=1), job(2, tenant=2)]
    tenants = {1: tenant(turn=40.0, contending=True), 2: tenant(turn=3.0, contending=True)}
    decision = hand_out(snapshot(jobs, [offer()], tenants=tenants))
    assert [h.tenant.int for h in decision.handed_out] == [2]
    assert decision.turns[tenant_id(2)] == pytest.approx(3.2)


def test_virtual_time_never_goes_back() -> None:
    decision = hand_out(
        snapshot([job(1)], [offer()], tenants={1: tenant(turn=5, contending=True)}, virtual_times={0: 9.0})
    )
    assert decision.virtual_times == {0: 9.0}


@pytest.mark.parametrize(
    ("waited", "home_slots", "expected"),
    [(10, 1, []), (10, 0, [1]), (31, 1, [1])],
    ids=["waits for its region", "nobody there can run it", "patience is over"],
)
def test_a_job_waits_for_its_region_only_while_it_helps(waited: float, home_slots: int, expected: list[int]) -> None:
    home = Profile(GENERALIST.capabilities, GENERALIST.tools, "eu")
    taken = snapshot(
        [job(1, waited=waited, requirement=1)],
        [offer()],
        profiles={0: GENERALIST, 1: home},
        requirements={1: Requirement(frozenset(), None, "eu")},
        slots={0: 10, 1: home_slots},
    )
    assert order_of(taken) == expected


def test_a_job_that_waits_for_its_region_hides_no_other() -> None:
    home = Profile(GENERALIST.capabilities, GENERALIST.tools, "eu")
    taken = snapshot(
        [job(1, base=CRITICAL, requirement=1), job(2, base=LOW)],
        [offer()],
        profiles={0: GENERALIST, 1: home},
        requirements={0: ANYTHING, 1: Requirement(frozenset(), None, "eu")},
        slots={0: 10, 1: 1},
    )
    assert order_of(taken) == [2]


@dataclass
class Fleet:
    """A little world of one profile that runs the rule over time; it measures slot-seconds by tenant."""

    slots: int
    weights: dict[int, int]
    lengths: dict[int, float]
    backlog: dict[int, tuple[int, float]]  # base priority, and how long each job has waited already
    now: float = 0.0
    held: list[tuple[float, int, float]] = field(default_factory=list)
    turns: dict[int, float] = field(default_factory=dict)
    contending: frozenset[TenantId] = frozenset()
    virtual_times: Mapping[int, float] = field(default_factory=dict)
    slot_seconds: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    served_at: dict[int, list[float]] = field(default_factory=dict)
    fleet_mean: float = 60.0
    number: int = 0

    def run(self, until: float) -> None:
        while self.now < until:
            self._claim()
            ended, self.held = min(self.held), sorted(self.held)[1:]
            self.now = ended[0]
            self._end(*ended[1:])

    def _end(self, t: int, charged: float) -> None:
        length = self.lengths[t]
        self.slot_seconds[t] += length
        self.turns[t] = costs.corrected(
            self.turns[t],
            costs.Ended(charged=charged, held_seconds=length),
            weight=self.weights[t],
            fleet_mean=self.fleet_mean,
            virtual_time=self.virtual_times[0],
        )
        self.fleet_mean = costs.smoothed(self.fleet_mean, latest=length, weight=costs.FLEET_SMOOTHING)

    def _claim(self) -> None:
        running = Counter(t for _, t, _ in self.held)
        free = self.slots - len(self.held)
        queued = [
            QueuedJob(JobId(UUID(int=t * 10**9 + self.number + n)), tenant_id(t), base, self.now - waited, 0)
            for t, (base, waited) in self.backlog.items()
            for n in range(free + 1)
        ]
        self.number += free + 1
        decision = hand_out(
            Snapshot(
                now=self.now,
                patience=30.0,
                profiles={0: GENERALIST},
                requirements={0: ANYTHING},
                slots={0: self.slots},
                virtual_times=self.virtual_times,
                tenants={
                    tenant_id(t): Tenant(
                        weight=w,
                        running=running[t],
                        running_on={0: running[t]} if running[t] else {},
                        turn=self.turns.get(t, 0.0),
                        contending=tenant_id(t) in self.contending,
                        cost=costs.cost_of(self.lengths[t], fleet_mean=self.fleet_mean),
                    )
                    for t, w in self.weights.items()
                },
                queued=queued,
                offers=[Offer(AgentId(UUID(int=1)), 0, len(self.held), self.slots, free, 0.0)],
            )
        )
        self.turns = {t.int: turn for t, turn in decision.turns.items()}
        self.contending, self.virtual_times = decision.contending, decision.virtual_times
        for h in decision.handed_out:
            self.held.append((self.now + self.lengths[h.tenant.int], h.tenant.int, h.cost))
            self.served_at.setdefault(h.tenant.int, []).append(self.now)


def test_slot_seconds_follow_the_weights_and_jains_index_is_at_least_0_99() -> None:
    weights = {1: 2, 2: 2, 3: 5, 4: 5, 5: 10}
    fleet = Fleet(10, weights, dict.fromkeys(weights, 60.0), dict.fromkeys(weights, (NORMAL, 0.0)))
    fleet.run(until=4 * 3600)
    normalised = [fleet.slot_seconds[t] / w for t, w in weights.items()]
    assert sum(normalised) ** 2 / (len(normalised) * sum(x * x for x in normalised)) >= 0.99


def test_turns_are_shared_in_slot_time_when_lengths_are_unlike() -> None:
    weights = dict.fromkeys(range(1, 21), 2)
    lengths = {t: 1200.0 if t <= 10 else 30.0 for t in weights}
    fleet = Fleet(5, weights, lengths, dict.fromkeys(weights, (NORMAL, 0.0)))
    fleet.run(until=40 * 3600)
    long = sum(fleet.slot_seconds[t] for t in range(1, 11))
    short = sum(fleet.slot_seconds[t] for t in range(11, 21))
    assert long / short == pytest.approx(1.0, abs=0.1)


def test_a_flood_of_critical_jobs_starves_nobody() -> None:
    """The published priority alone never serves the quiet tenant: both age alike and the bonus is capped."""
    weights = {1: 50, 2: 2}
    fleet = Fleet(4, weights, {1: 60.0, 2: 60.0}, {1: (CRITICAL, 3600.0), 2: (LOW, 3600.0)})
    fleet.run(until=3600)
    round_of_the_flood = weights[1] / 2 * 60.0 / fleet.slots
    assert fleet.served_at[2][0] <= 2 * round_of_the_flood + 60.0


@given(st.integers(0, 2**32))
def test_a_slot_never_stays_empty_while_an_eligible_job_exists(seed: int) -> None:
    draw = Random(seed)
    profiles = {0: GENERALIST, 1: SPECIALIST}
    requirements = {0: ANYTHING, 1: Requirement(frozenset({"nuclei"}), None, None)}
    tenants = {
        n: tenant(weight=draw.choice([2, 5, 10]), running=draw.randint(0, 3), turn=draw.random() * 9)
        for n in range(1, 5)
    }
    jobs = [
        job(n, tenant=draw.randint(1, 4), waited=draw.random() * 4000, requirement=draw.randint(0, 1))
        for n in range(1, draw.randint(2, 20))
    ]
    offers = [
        offer(n, profile=draw.randint(0, 1), running=draw.randint(0, 9), wanted=draw.randint(1, 4)) for n in range(1, 5)
    ]
    taken = snapshot(jobs, offers, tenants=tenants, profiles=profiles, requirements=requirements, slots={0: 10, 1: 10})
    handed = hand_out(taken).handed_out
    held = Counter({t: s.running for t, s in tenants.items()})
    held.update(h.tenant.int for h in handed)
    given_to = Counter(h.agent.int for h in handed)
    left = [
        j for j in jobs if j.job not in {h.job for h in handed} and held[j.tenant.int] < tenants[j.tenant.int].weight
    ]
    for o in offers:
        full = given_to[o.agent.int] >= min(o.wanted, o.max_concurrent - o.running)
        assert full or not any(fits(requirements[j.requirement], profiles[o.profile]) for j in left)
    assert all(held[t] <= max(tenants[t].weight, tenants[t].running) for t in held)
    assert scheduling.charge(cost=1.0, weight=2) == 1.0
