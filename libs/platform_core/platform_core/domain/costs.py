"""What a job costs its tenant in virtual time, expected at the hand-out and corrected by its true length at the end.

Lengths are seconds. A cost is a length over the fleet's mean job length, so an average job costs 1.
"""

from dataclasses import dataclass

from platform_core.domain.scheduling import charge

# A hand-out is work even when the job is empty: splitting a job into crumbs must not be free.
OVERHEAD_SECONDS = 0.1
# The correction leaves a tenant at most this many rounds beyond V: debts are bounded.
MAX_DEBT_ROUNDS = 20.0
# Weight of the newest length in the moving averages of a tenant and of the fleet. The fleet's is the unit of all turns:
# were it quick (0.02), long jobs would lift it just when they are charged, and keep a fifth more than they are due.
TENANT_SMOOTHING = 0.2
FLEET_SMOOTHING = 0.001


def cost_of(seconds: float, *, fleet_mean: float) -> float:
    """The cost of holding a slot for so long, never below the overhead of a hand-out."""
    return max(seconds, OVERHEAD_SECONDS) / max(fleet_mean, OVERHEAD_SECONDS)


def smoothed(mean: float | None, *, latest: float, weight: float) -> float:
    """The moving average after one more length; the first length is the average."""
    latest = max(latest, OVERHEAD_SECONDS)
    return latest if mean is None else mean + (latest - mean) * weight


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that ended: what it was charged, and how long it held its slot; None when it is refunded."""

    charged: float
    held_seconds: float | None


def corrected(turn: float, ended: Ended, *, weight: int, fleet_mean: float, virtual_time: float) -> float:
    """The tenant's turn after an attempt of known length: charged for what it took, bounded to 20 rounds beyond V."""
    true_cost = 0.0 if ended.held_seconds is None else cost_of(ended.held_seconds, fleet_mean=fleet_mean)
    moved = turn + charge(cost=true_cost - ended.charged, weight=weight)
    return min(moved, max(turn, virtual_time + MAX_DEBT_ROUNDS))
