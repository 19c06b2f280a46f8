"""What the rule must hold over hours (docs/scheduling.md), on a virtual clock."""

from collections.abc import Sequence
from itertools import count
from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation.cell import Cell
from simulation.load import CRITICAL, ENTERPRISE, FREE, LOW, PRO, STARTER, Draw, Fleet, Scenario, Stream, about, exactly
from simulation.outcome import jain, percentile
from simulation.scenarios import (
    ISLAND,
    MAINLAND,
    SPECIAL,
    TEN_SLOTS,
    flood,
    island,
    long_and_short,
    unservable,
)  # fmt: skip

from platform_core.domain.costs import MAX_DEBT_ROUNDS
from platform_core.domain.ids import TenantId
from platform_core.domain.plans import Plan, weight
from platform_core.domain.scheduling import Profile

HOUR = 3600.0


def time_of_round(cell: Cell, v: float) -> float:
    """Run until V has come so far."""
    for at in count(int(cell.now), 60):
        cell.run(until=at)
        if cell.books.virtual_times.get(0, 0.0) >= v:
            break
    return cell.now


def mostly_short(draw: Random) -> float:
    """One job in forty is twenty times as long as the mean of all."""
    return 1200.0 if draw.random() < 1 / 40 else 30.0


@pytest.mark.parametrize(
    ("plans", "slots", "length"),
    [
        ([FREE, FREE, STARTER, PRO, ENTERPRISE], 10, about(60)),
        ([FREE] * 12, 5, about(60)),
        ([PRO, FREE], 10, about(60)),
        ([ENTERPRISE, PRO, FREE, FREE], 50, about(60)),
    ],
    ids=["five plans", "more tenants than slots", "a share near the cap", "a large fleet"],
)
def test_over_fifty_rounds_slot_seconds_follow_the_weights_within_5_percent_and_jains_index_is_0_99(
    plans: Sequence[Plan], slots: int, length: Draw
) -> None:
    tenants = dict(enumerate(plans, start=1))
    cell = Cell(Scenario(tenants, [Stream(t, length) for t in tenants], [Fleet(1, slots)]))
    begin, end = (time_of_round(cell, v) for v in (10, 60))
    shares = cell.run(until=end).shares(tenants, since=begin)
    assert jain(shares.values()) >= 0.99
    assert all(share == pytest.approx(1, abs=0.05) for share in shares.values())


def test_a_share_just_below_the_cap_is_reached_whatever_the_lengths() -> None:
    """At its cap a tenant cannot be served; were its turn moved on meanwhile, it would lose what it is due."""
    plans = dict(enumerate([PRO, PRO, STARTER, FREE, FREE], start=1))
    outcome = Cell(Scenario(plans, [Stream(t, mostly_short) for t in plans], [Fleet(1, 24)])).run(until=12 * HOUR)
    assert all(share == pytest.approx(1, abs=0.03) for share in outcome.shares(plans, since=HOUR).values())


@pytest.mark.parametrize(
    ("plans", "slots"),
    [([FREE], 10), ([FREE, STARTER, PRO], 10), ([FREE, STARTER, PRO], 40)],
    ids=["forty free tenants", "more tenants than slots", "more slots than tenants"],
)
def test_twenty_minutes_against_thirty_seconds_is_shared_in_slot_time(plans: Sequence[Plan], slots: int) -> None:
    """Jobs of twenty times the mean: a free tenant runs one in twenty rounds, so it takes hundreds to tell."""
    tenants = {t: plans[t % len(plans)] for t in range(1, 21)}
    streams = [Stream(t, exactly(1200 if t <= 10 else 30)) for t in tenants]
    outcome = Cell(Scenario(tenants, streams, [Fleet(2, slots // 2)])).run(until=24 * HOUR)
    shares = outcome.shares(tenants, since=4 * HOUR)
    assert jain(shares.values()) >= 0.99
    assert all(share == pytest.approx(1, abs=0.05) for share in shares.values())


def test_over_two_hundred_rounds_nobody_is_further_from_its_due_than_by_5_percent_and_a_job_of_its_own() -> None:
    """A job cannot be cut: in fifty rounds a free tenant is due two and a half of those that are twenty rounds long."""
    case = long_and_short()
    cell = Cell(case.scenario)
    begin, end = (time_of_round(cell, v) for v in (50, 250))
    outcome = cell.run(until=end)
    due = (end - begin) * 10 / 40
    for name, length in (("20 min", 1200.0), ("30 s", 30.0)):
        assert all(
            outcome.slot_seconds(t, since=begin) == pytest.approx(due, abs=0.05 * due + length)
            for t in case.groups[name]
        )


@settings(max_examples=40, deadline=None)
@given(
    others=st.lists(st.sampled_from([FREE, STARTER, PRO]), min_size=1, max_size=6),
    slots=st.integers(1, 8),
    debt=st.floats(0, MAX_DEBT_ROUNDS),
    at=st.floats(600, 1200),
)
def test_the_first_job_of_whoever_waits_is_served_within_two_rounds_one_release_and_its_own_debt(
    others: Sequence[Plan], slots: int, debt: float, at: float
) -> None:
    """All jobs are of average length."""
    plans = {0: FREE} | dict(enumerate(others, start=1))
    streams = [Stream(t, exactly(60), CRITICAL) for t in plans if t]
    late = Stream(0, exactly(60), LOW, gap=exactly(HOUR), starts=at)
    cell = Cell(Scenario(plans, [*streams, late], [Fleet(1, slots)]))
    cell.run(until=at - 1)
    cell.books.turns[TenantId(UUID(int=0))] = cell.books.virtual_times[0] + debt
    one_round = sum(max(1, weight(plan) / 2) for plan in others) * 60 / slots
    outcome = cell.run(until=at + (2 + debt) * one_round + 60)
    assert 0 in {run.tenant for run in outcome.runs}


def test_a_flood_of_critical_jobs_holds_a_quiet_tenant_up_for_two_rounds_at_most() -> None:
    case = flood()
    waits = Cell(case.scenario).run(until=case.hours * HOUR).waits(case.groups["quiet"])
    one_round = weight(ENTERPRISE) / 2 * 30 / 10
    assert percentile(waits, 0.5) <= one_round
    assert percentile(waits, 0.99) <= 2 * one_round


def test_an_island_of_special_agents_does_not_move_the_shares_of_the_rest() -> None:
    alone, beside = (Cell(c.scenario).run(until=4 * HOUR) for c in (island(inhabited=False), island()))
    for plan in (range(1, 9, 2), range(2, 9, 2)):
        before, now = (sum(outcome.slot_seconds(t) for t in plan) for outcome in (alone, beside))
        assert now == pytest.approx(before, rel=0.01)


def test_a_crowd_that_nobody_can_serve_does_not_move_the_shares_of_the_rest() -> None:
    shares = [Cell(unservable(crowd=n).scenario).run(until=4 * HOUR).shares([1, 2]) for n in (0, 40)]
    assert shares[0] == shares[1]


def test_overlapping_profiles_are_served_by_the_same_rule() -> None:
    """Generalists that everybody can use and an island that half can: weights hold among its own on each."""
    both = Profile(ISLAND.capabilities | MAINLAND.capabilities, ISLAND.tools, "local")
    plans = {1: PRO, 2: FREE, 3: PRO, 4: FREE}
    kinds = {1: MAINLAND, 2: MAINLAND, 3: SPECIAL, 4: SPECIAL}
    streams = [Stream(t, about(60), requirement=kinds[t]) for t in plans]
    fleets = [Fleet(1, 5), Fleet(1, 4, ISLAND), Fleet(1, 4, both)]
    outcome = Cell(Scenario(plans, streams, fleets)).run(until=12 * HOUR)
    for pair in ((1, 2), (3, 4)):
        assert all(share == pytest.approx(1, abs=0.05) for share in outcome.shares(pair).values())


def test_whoever_comes_from_an_island_where_rounds_are_quick_is_served_on_the_mainland() -> None:
    plans = dict.fromkeys(range(1, 42), FREE)
    streams = [
        *(Stream(t, exactly(60), requirement=MAINLAND) for t in range(1, 41)),
        Stream(41, exactly(5), requirement=SPECIAL, stops=3 * HOUR),
        Stream(41, exactly(60), requirement=MAINLAND, gap=exactly(600), starts=3 * HOUR + 60),
    ]
    cell = Cell(Scenario(plans, streams, [TEN_SLOTS, Fleet(1, 2, ISLAND)]))
    outcome = cell.run(until=6 * HOUR)
    assert cell.books.virtual_times[1] > cell.books.virtual_times[0] + 100
    one_round = 40 * 60 / 10
    assert outcome.waits([41])[-1] <= (2 + MAX_DEBT_ROUNDS) * one_round + 60
