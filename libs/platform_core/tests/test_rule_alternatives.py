"""Rules that look good, each where it fails (docs/scheduling.md); the rule holds there."""

import pytest
from simulation.alternatives import (
    one_virtual_time,
    published_order,
    rounds_alone,
    shares_alone,
    shares_of_everything,
)  # fmt: skip
from simulation.cell import Cell, Rule
from simulation.load import CRITICAL, ENTERPRISE, FREE, NORMAL, PRO, Fleet, Scenario, Stream, exactly
from simulation.outcome import Outcome, jain
from simulation.scenarios import ISLAND, MAINLAND, SPECIAL, TEN_SLOTS, UNKNOWN, flood

from platform_core.domain.rule import hand_out

HOUR = 3600.0


def under(rule: Rule, scenario: Scenario, *, hours: float) -> Outcome:
    return Cell(scenario, rule=rule).run(until=hours * HOUR)


def surprise(*, crowd: int = 0) -> Scenario:
    """After half an hour of one-second jobs a tenant comes with 20-minute jobs: nobody can know. Another goes on."""
    blocked = range(3, 3 + crowd)
    streams = [
        Stream(1, exactly(1), stops=HOUR / 2),
        Stream(1, exactly(1200), starts=HOUR / 2),
        Stream(2, exactly(30)),
        *(Stream(t, exactly(60), requirement=UNKNOWN) for t in blocked),
    ]
    return Scenario({1: PRO, 2: PRO} | dict.fromkeys(blocked, ENTERPRISE), streams, [TEN_SLOTS])


def quiet_beside_an_island() -> Scenario:
    """Quick rounds for a tenant alone on an island; on the mainland five that never rest, one that comes at times."""
    streams = [
        Stream(1, exactly(5), requirement=SPECIAL),
        *(Stream(t, exactly(60), requirement=MAINLAND) for t in range(2, 7)),
        Stream(7, exactly(60), requirement=MAINLAND, gap=exactly(900), starts=HOUR),
    ]
    return Scenario(dict.fromkeys(range(1, 8), FREE), streams, [Fleet(1, 2, ISLAND), Fleet(1, 2)])


@pytest.mark.parametrize(("rule", "starves"), [(published_order, True), (hand_out, False)])
def test_the_published_priority_alone_starves_the_quiet_tenant_of_a_flood(rule: Rule, starves: bool) -> None:
    """All age alike and the bonus is capped: it is never served."""
    outcome = under(rule, flood().scenario, hours=4)
    assert (2 not in {run.tenant for run in outcome.runs}) is starves
    assert (outcome.waits([2])[-1] > 3 * HOUR) is starves


@pytest.mark.parametrize(("rule", "starves"), [(one_virtual_time, True), (hand_out, False)])
def test_one_virtual_time_for_the_whole_fleet_starves_whoever_begins_behind_an_island(
    rule: Rule, starves: bool
) -> None:
    longest = under(rule, quiet_beside_an_island(), hours=5).waits([7])[-1]
    assert longest > HOUR if starves else longest <= 300


@pytest.mark.parametrize(("rule", "fair"), [(shares_alone, False), (hand_out, True)])
def test_shares_alone_starve_tenants_when_there_are_more_of_them_than_slots(rule: Rule, fair: bool) -> None:
    plans = dict.fromkeys(range(1, 7), FREE) | {7: PRO}
    streams = [Stream(t, exactly(60), CRITICAL if t <= 2 else NORMAL) for t in plans]
    shares = under(rule, Scenario(plans, streams, [Fleet(1, 2)]), hours=4).shares(plans)
    assert (jain(shares.values()) >= 0.99) is fair
    assert (min(shares.values()) > 0) is fair


@pytest.mark.parametrize(("rule", "fair"), [(rounds_alone, False), (hand_out, True)])
def test_rounds_alone_give_all_slots_to_jobs_that_turn_out_to_be_long(rule: Rule, fair: bool) -> None:
    assert (_kept_by_the_other(rule, surprise()) == pytest.approx(0.5)) is fair


@pytest.mark.parametrize(("rule", "fair"), [(shares_of_everything, False), (hand_out, True)])
def test_shares_of_everything_let_a_crowd_that_nobody_can_serve_take_the_others_shares(rule: Rule, fair: bool) -> None:
    assert (_kept_by_the_other(rule, surprise(crowd=40)) == pytest.approx(0.5)) is fair


def _kept_by_the_other(rule: Rule, scenario: Scenario) -> float:
    """What part of ten slots the tenant of short jobs has in the twenty minutes after the surprise."""
    outcome = under(rule, scenario, hours=5 / 6)
    part = outcome.slot_seconds(2, since=HOUR / 2) / (10 * HOUR / 3)
    assert rule is hand_out or part < 0.3
    return part
