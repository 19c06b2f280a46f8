"""What a tenant cannot gain by its manner of submitting (docs/scheduling.md), beside five that behave."""

from collections.abc import Sequence
from random import Random

import pytest
from simulation.cell import Cell
from simulation.load import CRITICAL, FREE, Fleet, Scenario, Stream, about, exactly
from simulation.outcome import Outcome

HOUR = 3600.0
SLOTS = 4


def beside_five(gamer: Sequence[Stream], *, hours: float) -> Outcome:
    honest = [Stream(t, about(60)) for t in range(2, 7)]
    return Cell(Scenario(dict.fromkeys(range(1, 7), FREE), [*gamer, *honest], [Fleet(1, SLOTS)])).run(
        until=hours * HOUR
    )


def mostly_cancelled(draw: Random) -> float:
    """Held for a second and cancelled, to be thought short; now and then ten minutes."""
    return 600.0 if draw.random() < 0.1 else 1.0


def crumbs_and_lumps(draw: Random) -> float:
    return draw.choice([0.5, 300.0])


@pytest.mark.parametrize(
    "gamer",
    [
        [Stream(1, about(60), CRITICAL)],
        [Stream(1, exactly(2))],
        [Stream(1, mostly_cancelled, CRITICAL)],
        [Stream(1, crumbs_and_lumps), Stream(1, exactly(0.5), CRITICAL)],
    ],
    ids=["all critical", "jobs split into crumbs", "submitted and cancelled", "crumbs beside lumps"],
)
def test_nobody_gets_more_than_its_share(gamer: Sequence[Stream]) -> None:
    shares = beside_five(gamer, hours=3).shares(range(1, 7), since=HOUR)
    assert shares[1] <= 1.05


def test_a_job_of_no_length_still_costs_a_hand_out() -> None:
    outcome = beside_five([Stream(1, exactly(0.01))], hours=0.25)
    handed_out = sum(run.tenant == 1 for run in outcome.runs)
    assert handed_out * 0.1 <= 1.05 * outcome.now * SLOTS / 6


def test_coming_and_going_saves_nothing_up() -> None:
    """An hour of silence, then everything at once: no more in that hour than those who never went away."""
    bursts = [Stream(1, about(60), starts=n * HOUR, stops=(n + 1) * HOUR) for n in (3, 7, 11)]
    outcome = beside_five(bursts, hours=12)
    assert outcome.shares(range(1, 7), since=11 * HOUR)[1] <= 1.1
