"""What a simulation measured: slot-seconds, waits, and how evenly they fall."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Run:
    """A job that was handed out; ``ends`` may be still to come."""

    tenant: int
    profile: int
    base: int
    queued_at: float
    starts: float
    ends: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """All until ``now``. ``waiting``: the tenant, and since when, of every job that nobody has taken."""

    now: float
    weights: Mapping[int, int]
    runs: Sequence[Run]
    waiting: Sequence[tuple[int, float]]

    def slot_seconds(self, tenant: int, *, since: float = 0.0, profile: int | None = None) -> float:
        return sum(
            max(0.0, min(run.ends, self.now) - max(run.starts, since))
            for run in self.runs
            if run.tenant == tenant and profile in (None, run.profile)
        )

    def shares(self, tenants: Collection[int], *, since: float = 0.0, profile: int | None = None) -> dict[int, float]:
        """Each one's part of the slot-seconds over its part of the weights: 1 is what it should have."""
        if not tenants:
            return {}
        got = {t: self.slot_seconds(t, since=since, profile=profile) for t in tenants}
        weight = sum(self.weights[t] for t in tenants)
        return {t: got[t] / sum(got.values()) * weight / self.weights[t] for t in tenants}

    def waits(self, tenants: Collection[int]) -> list[float]:
        """From the submission to the hand-out; of what still waits, until now."""
        served = [run.starts - run.queued_at for run in self.runs if run.tenant in tenants]
        return sorted(served + [self.now - since for t, since in self.waiting if t in tenants])


def jain(shares: Iterable[float]) -> float:
    """Jain's index of fairness: 1 when all are equal, 1/n when one has everything."""
    values = [*shares]
    return sum(values) ** 2 / (len(values) * sum(x * x for x in values))


def percentile(values: Sequence[float], part: float) -> float:
    """Of sorted values; the smallest that so large a part of them does not exceed."""
    return values[min(len(values) - 1, int(part * len(values)))]
