"""The loads that the rule has to stand (docs/scheduling.md)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from platform_core.domain.scheduling import Profile, Requirement
from simulation.load import (
    CRITICAL,
    ENTERPRISE,
    FREE,
    LOW,
    PRO,
    STARTER,
    Fleet,
    Scenario,
    Stream,
    about,
    exactly,
)  # fmt: skip

ISLAND = Profile(frozenset({"special"}), frozenset({"special"}), "local")
SPECIAL = Requirement(frozenset({"special"}), None, None)
UNKNOWN = Requirement(frozenset({"unknown"}), None, None)
MAINLAND = Requirement(frozenset({"nuclei"}), None, None)

TEN_SLOTS = Fleet(agents=2, slots=5)


@dataclass(frozen=True, slots=True)
class Case:
    """A load, for how long, and the tenants that are told together.

    ``rivals``: those that never rest and may use the same slots, so that their shares can be compared.
    """

    scenario: Scenario
    hours: float
    groups: Mapping[str, Collection[int]]
    rivals: Collection[int] = ()


def five_plans() -> Case:
    """Everybody has always more to do."""
    plans = dict(enumerate([FREE, FREE, STARTER, PRO, ENTERPRISE], start=1))
    scenario = Scenario(plans, [Stream(t, about(60)) for t in plans], [TEN_SLOTS])
    return Case(scenario, 4, {"free": [1, 2], "starter": [3], "pro": [4], "enterprise": [5]}, plans)


def long_and_short() -> Case:
    """Twenty tenants of 20-minute jobs against twenty of 30-second jobs."""
    long, short = range(1, 21), range(21, 41)
    streams = [Stream(t, exactly(1200 if t in long else 30)) for t in (*long, *short)]
    return Case(
        Scenario(dict.fromkeys(range(1, 41), FREE), streams, [TEN_SLOTS]),
        24,
        {"20 min": long, "30 s": short},
        range(1, 41),
    )


def flood() -> Case:
    """An enterprise tenant submits a critical job every second; a quiet one a low job every ten minutes."""
    noisy = Stream(1, about(30), CRITICAL, gap=exactly(1))
    quiet = Stream(2, about(30), LOW, gap=exactly(600), starts=600)
    return Case(Scenario({1: ENTERPRISE, 2: FREE}, [noisy, quiet], [TEN_SLOTS]), 4, {"flood": [1], "quiet": [2]})


def island(*, inhabited: bool = True) -> Case:
    """Eight tenants on the mainland; three on special agents that nobody else can use."""
    mainland, islanders = range(1, 9), range(9, 12) if inhabited else range(0)
    streams = [
        *(Stream(t, about(60), requirement=MAINLAND) for t in mainland),
        *(Stream(t, about(5), requirement=SPECIAL) for t in islanders),
    ]
    plans = {t: PRO if t % 2 else FREE for t in (*mainland, *islanders)}
    scenario = Scenario(plans, streams, [TEN_SLOTS, Fleet(agents=1, slots=2, profile=ISLAND)])
    return Case(scenario, 4, {"mainland": mainland} | ({"island": islanders} if inhabited else {}), mainland)


def unservable(*, crowd: int = 40) -> Case:
    """A pro and a free tenant, and many whose jobs no agent can run."""
    plans = {1: PRO, 2: FREE} | dict.fromkeys(range(3, 3 + crowd), ENTERPRISE)
    blocked = [Stream(t, exactly(60), CRITICAL, requirement=UNKNOWN) for t in range(3, 3 + crowd)]
    scenario = Scenario(plans, [Stream(1, about(60)), Stream(2, about(60)), *blocked], [TEN_SLOTS])
    return Case(scenario, 4, {"pro": [1], "free": [2]}, [1, 2])


CASES = {
    "five plans": five_plans,
    "long and short": long_and_short,
    "flood": flood,
    "island": island,
    "nobody serves forty": unservable,
}
