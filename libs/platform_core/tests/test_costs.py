"""What a job costs in virtual time (docs/scheduling.md, "Costs")."""

import pytest

from platform_core.domain.costs import MAX_DEBT_ROUNDS, Ended, corrected, cost_of, smoothed


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(60.0, 1.0), (1200.0, 20.0), (0.0, 0.1 / 60)],
    ids=["an average job", "twenty times the mean", "never below the overhead of a hand-out"],
)
def test_a_cost_is_a_length_over_the_fleets_mean(seconds: float, expected: float) -> None:
    assert cost_of(seconds, fleet_mean=60.0) == pytest.approx(expected)


def test_the_first_length_is_the_mean_and_the_next_ones_move_it() -> None:
    first = smoothed(None, latest=30.0, weight=0.2)
    assert (first, smoothed(first, latest=80.0, weight=0.2)) == (30.0, 40.0)


@pytest.mark.parametrize(
    ("weight", "charged", "held_seconds", "expected"),
    [
        (2, 1.0, 300.0, 14.0),
        (10, 1.0, 300.0, 10.8),
        (2, 5.0, 60.0, 6.0),
        (2, 5.0, 6.0, 5.1),
        (2, 5.0, None, 5.0),
    ],
    ids=[
        "longer than expected",
        "by weight",
        "shorter than expected",
        "a cancelled job costs the time that it was held",
        "an attempt lost by our fault is refunded",
    ],
)
def test_the_true_length_corrects_the_turn(
    weight: int, charged: float, held_seconds: float | None, expected: float
) -> None:
    ended = Ended(charged, held_seconds)
    assert corrected(10.0, ended, weight=weight, fleet_mean=60.0, virtual_time=9.0) == pytest.approx(expected)


def test_a_correction_leaves_a_tenant_at_most_20_rounds_beyond_the_virtual_time() -> None:
    days = Ended(charged=1.0, held_seconds=86_400.0)
    assert corrected(10.0, days, weight=2, fleet_mean=60.0, virtual_time=9.0) == 9.0 + MAX_DEBT_ROUNDS


def test_a_correction_forgives_nothing_that_was_charged_at_the_hand_out() -> None:
    """Two jobs of twenty times the mean at once are forty rounds; the end of the first leaves them so."""
    assert corrected(45.0, Ended(20.0, 1200.0), weight=2, fleet_mean=60.0, virtual_time=5.0) == 45.0
