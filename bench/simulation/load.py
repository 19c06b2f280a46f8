"""What a simulation is made of: tenants with plans, the streams of jobs that they submit, and agents with slots."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from random import Random

from platform_core.domain import plans
from platform_core.domain.plans import PLANS, Plan
from platform_core.domain.scheduling import Profile, Requirement

CRITICAL, HIGH, NORMAL, LOW = 1000, 750, 500, 250
FREE, STARTER, PRO, ENTERPRISE = (PLANS[name] for name in ("free", "starter", "pro", "enterprise"))

ANYTHING = Requirement(frozenset(), None, None)
GENERALIST = Profile(frozenset({"bandit", "nuclei"}), frozenset({"bandit", "nuclei"}), "local")

Draw = Callable[[Random], float]


def exactly(seconds: float) -> Draw:
    return lambda _: seconds


def about(mean: float) -> Draw:
    """Exponential: many short ones, a few long."""
    return lambda draw: draw.expovariate(1 / mean)


@dataclass(frozen=True, slots=True)
class Stream:
    """Jobs of one kind that a tenant submits.

    ``length``: how long a job holds its slot. ``gap``: the seconds between two submissions; None: some always wait.
    """

    tenant: int
    length: Draw
    base: int = NORMAL
    gap: Draw | None = None
    starts: float = 0.0
    stops: float = inf
    requirement: Requirement = ANYTHING

    def flows(self, now: float) -> bool:
        return self.starts <= now < self.stops


@dataclass(frozen=True, slots=True)
class Fleet:
    """Agents of one profile."""

    agents: int
    slots: int
    profile: Profile = GENERALIST


@dataclass(frozen=True, slots=True)
class Scenario:
    plans: Mapping[int, Plan]
    streams: Sequence[Stream]
    fleets: Sequence[Fleet]

    @property
    def weights(self) -> dict[int, int]:
        return {t: plans.weight(plan) for t, plan in self.plans.items()}
