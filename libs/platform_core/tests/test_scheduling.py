"""The rule of docs/scheduling.md, property by property."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapshots import (
    ANYTHING,
    CRITICAL,
    GENERALIST,
    HIGH,
    LOW,
    NORMAL,
    SPECIALIST,
    job,
    offer,
    order_of,
    snapshot,
    tenant,
    tenant_id,
)

from platform_core.domain import scheduling
from platform_core.domain.rule import hand_out
from platform_core.domain.scheduling import Profile, Requirement, fits


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
