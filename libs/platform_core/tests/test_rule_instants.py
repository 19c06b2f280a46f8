"""What the rule must hold at every instant (docs/scheduling.md), on random queues."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from snapshots import (
    ANYTHING,
    CRITICAL,
    GENERALIST,
    HIGH,
    LOW,
    NORMAL,
    NOW,
    SPECIALIST,
    job,
    offer,
    snapshot,
    tenant,
)  # fmt: skip

from platform_core.domain.rule import fill, hand_out
from platform_core.domain.scheduling import HandOut, Requirement, Snapshot, Standing, charge
from platform_core.domain.standing import stand
from platform_core.domain.waiting import Queue

NUCLEI = Requirement(frozenset(), "nuclei", None)
BANDIT = Requirement(frozenset({"bandit"}), None, None)


def a_queue(draw: Random, *, profiles: int) -> Snapshot:
    """Some tenants, a few of them beyond a plan that was lowered, on agents of one profile or of two that overlap."""
    plans = [2, 5, 10, 50]
    tenants = {
        n: replace(
            tenant(weight=draw.choice(plans), running=draw.randint(0, 6), turn=draw.random() * 30),
            contending=draw.random() < 0.5,
            cost=draw.choice([0.01, 0.5, 1.0, 20.0]),
        )
        for n in range(1, draw.randint(2, 6))
    }
    jobs = [
        job(
            n,
            tenant=draw.choice([*tenants]),
            base=draw.choice([CRITICAL, HIGH, NORMAL, LOW]),
            waited=draw.choice([0, 5, 6, 2994, 3000, 4000]) + draw.choice([0, 0.5]),
            requirement=draw.randrange(3),
        )
        for n in range(1, draw.randint(2, 30))
    ]
    offers = [
        offer(n, profile=draw.randrange(profiles), running=draw.randint(0, 5), wanted=draw.randint(1, 5))
        for n in range(1, draw.randint(2, 5))
    ]
    return snapshot(
        jobs,
        offers,
        tenants=tenants,
        profiles=dict(enumerate([GENERALIST, SPECIALIST][:profiles])),
        requirements={0: ANYTHING, 1: NUCLEI, 2: BANDIT},
        slots=dict.fromkeys(range(profiles), 20),
        virtual_times={g: draw.choice([0.0, 7.0, 40.0]) for g in range(profiles)},
    )


queues = st.builds(lambda seed: a_queue(Random(seed), profiles=2), st.integers(0, 2**32))
queues_of_one_profile = st.builds(lambda seed: a_queue(Random(seed), profiles=1), st.integers(0, 2**32))


def settled(taken: Snapshot) -> Snapshot:
    """The same instant once everybody who starts to wait has been brought to the virtual time."""
    queue = Queue(taken)
    standing = stand(taken, queue)
    tenants = {
        t: replace(s, turn=standing.turns[t], contending=bool(queue.servable_on(t))) for t, s in taken.tenants.items()
    }
    return replace(taken, tenants=tenants, virtual_times=standing.virtual_times)


def after(taken: Snapshot, handed: HandOut) -> Snapshot:
    """The same instant, one hand-out later."""
    holder = taken.tenants[handed.tenant]
    on = {**holder.running_on, handed.profile: holder.running_on.get(handed.profile, 0) + 1}
    turn = holder.turn + charge(cost=handed.cost, weight=holder.weight)
    return replace(
        taken,
        queued=[j for j in taken.queued if j.job != handed.job],
        tenants={**taken.tenants, handed.tenant: replace(holder, running=holder.running + 1, running_on=on, turn=turn)},
        offers=[
            replace(o, running=o.running + 1, wanted=o.wanted - 1) if o.agent == handed.agent else o
            for o in taken.offers
        ],
    )


def singles(taken: Snapshot, standing_at: Callable[[Snapshot], Standing]) -> list[HandOut]:
    """One claim after another at the same instant, each for one job."""
    handed_out: list[HandOut] = []
    while decided := fill(taken, standing_at(taken)).handed_out:
        handed_out.append(decided[0])
        taken = after(taken, decided[0])
    return handed_out


@given(queues)
def test_a_batch_hands_out_what_single_claims_at_the_same_instant_would(taken: Snapshot) -> None:
    """With V and the shares as they were when the batch began."""
    frozen = stand(taken, Queue(taken))

    def standing_at(then: Snapshot) -> Standing:
        return replace(frozen, turns={t: s.turn for t, s in then.tenants.items()})

    assert hand_out(taken).handed_out == singles(settled(taken), standing_at)


@given(queues_of_one_profile)
def test_on_one_profile_single_claims_may_even_look_anew_at_v_and_the_shares(
    taken: Snapshot,
) -> None:
    assert hand_out(taken).handed_out == singles(settled(taken), lambda then: stand(then, Queue(then)))


@given(queues)
def test_nobody_holds_more_than_its_cap_and_a_lowered_plan_hands_out_nothing_until_it_is_below(taken: Snapshot) -> None:
    got = Counter(h.tenant for h in hand_out(taken).handed_out)
    assert all(n <= max(0, taken.tenants[t].weight - taken.tenants[t].running) for t, n in got.items())


@given(queues)
def test_no_agent_holds_more_than_its_max_concurrent_nor_gets_more_than_it_asked_for(taken: Snapshot) -> None:
    got = Counter(h.agent for h in hand_out(taken).handed_out)
    assert all(got[o.agent] <= min(o.wanted, o.max_concurrent - o.running) for o in taken.offers)


@given(queues_of_one_profile)
def test_inside_one_tenant_strictly_by_priority_then_age_whatever_the_batch_size(taken: Snapshot) -> None:
    rank = {j.job: j.rank(NOW) for j in taken.queued}
    handed_out = hand_out(taken).handed_out
    for t in taken.tenants:
        ranks = [rank[h.job] for h in handed_out if h.tenant == t]
        assert ranks == sorted(rank[j.job] for j in taken.queued if j.tenant == t)[: len(ranks)]


@given(queues)
def test_virtual_time_never_goes_back(taken: Snapshot) -> None:
    assert all(v >= taken.virtual_times[g] for g, v in hand_out(taken).virtual_times.items())


@given(queues)
def test_whoever_starts_to_wait_has_saved_nothing_up_and_owes_at_most_20_rounds(taken: Snapshot) -> None:
    queue = Queue(taken)
    standing = stand(taken, queue)
    for t, before in taken.tenants.items():
        if before.contending or before.running >= before.weight or not queue.servable_on(t):
            assert standing.turns[t] == before.turn
        else:
            begin = min(taken.virtual_times[g] for g in queue.servable_on(t))
            latest = min(standing.virtual_times[g] for g in queue.servable_on(t))
            assert begin <= standing.turns[t] <= latest + 20
