"""What the claim reads: two statements' answers, as values."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.scheduling import Profile, Requirement

Kind = TypeVar("Kind")


class Ended(Struct, frozen=True):
    """An attempt that ended since the last claim; ``held_seconds`` None: it is refunded."""

    id: int
    tenant_id: TenantId
    profile_id: int | None
    charged: float
    held_seconds: float | None


class Corrected(Struct, frozen=True):
    """A tenant of which an attempt ended."""

    id: TenantId
    weight: int
    turn: float
    mean_seconds: float | None


class Offering(Struct, frozen=True):
    """``profile_id``: what its latest noted poll offered."""

    id: AgentId
    max_concurrent: int
    running: int
    profile_id: int | None
    online: bool


class VirtualTime(Struct, frozen=True):
    profile_id: int
    v: float


class Woken(Struct, frozen=True):
    """A lane that somebody touched, and its head as it is now; None: it is empty."""

    id: int
    tenant_id: TenantId
    requirement_id: int
    base: int
    queued_at: datetime | None


class Ranked(Struct, frozen=True):
    """A tenant among the foremost."""

    tenant_id: TenantId
    weight: int
    running: int
    turn: float
    contending: bool
    mean_seconds: float | None


class Held(Struct, frozen=True):
    tenant_id: TenantId
    profile_id: int | None
    jobs: int


class Active(Struct, frozen=True):
    """The summed weight of the tenants that are active in a profile."""

    profile_id: int
    weight: int


class Lane(Struct, frozen=True):
    """``depth``: how many of its jobs were read, if it has so many."""

    lane_id: int
    tenant_id: TenantId
    base: int
    requirement_id: int
    queued_at: datetime
    depth: int


class Waiting(Struct, frozen=True):
    """A queued job of a lane."""

    lane_id: int
    id: JobId
    attempt: int
    queued_at: datetime


class _Requirement(Struct, frozen=True):
    id: int
    capabilities: frozenset[str]
    tool: str
    preferred_region: str


class _Profile(Struct, frozen=True):
    id: int
    capabilities: frozenset[str]
    tools: frozenset[str]
    region: str


class _Ranking(Struct, frozen=True):
    """As it comes: an array of nothing is null."""

    lanes: int
    virtual_times: list[VirtualTime] | None
    active: list[Active] | None
    tenants: list[Ranked] | None
    held: list[Held] | None
    lanes_of_chosen: list[Lane] | None
    jobs: list[Waiting] | None
    requirements: list[_Requirement] | None
    profiles: list[_Profile] | None


class Look(Struct, frozen=True):
    """The answer of ``look``."""

    now: datetime
    fleet_mean: float
    ended: Sequence[Ended]
    corrected: Sequence[Corrected]
    offering: Mapping[AgentId, Offering]
    virtual_times: Mapping[int, float]
    wakes: Sequence[int]
    woken: Sequence[Woken]
    worth_ranking: bool

    @classmethod
    def of(cls, row: Any) -> "Look":
        woken = _all(row["woken"], Woken)
        return cls(
            now=row["now"],
            fleet_mean=row["fleet_mean"],
            ended=_all(row["ended"], Ended),
            corrected=_all(row["corrected"], Corrected),
            offering={agent.id: agent for agent in _all(row["offering"], Offering)},
            virtual_times={told.profile_id: told.v for told in _all(row["virtual_times"], VirtualTime)},
            wakes=row["wakes"] or (),
            woken=woken,
            worth_ranking=row["worth_ranking"] or any(lane.queued_at for lane in woken),
        )


class Ranking(Struct, frozen=True):
    """The answer of ``rank``. ``lanes``: how many have a job."""

    lanes: int
    virtual_times: Mapping[int, float]
    active: Mapping[int, int]
    tenants: Sequence[Ranked]
    held: Sequence[Held]
    lanes_of_chosen: Mapping[int, Lane]
    jobs: Sequence[Waiting]
    requirements: Mapping[int, Requirement]
    profiles: Mapping[int, Profile]

    @classmethod
    def of(cls, text: str) -> "Ranking":
        told = msgspec.json.decode(text, type=_Ranking)
        return cls(
            lanes=told.lanes,
            virtual_times={vt.profile_id: vt.v for vt in told.virtual_times or ()},
            active={active.profile_id: active.weight for active in told.active or ()},
            tenants=told.tenants or (),
            held=told.held or (),
            lanes_of_chosen={lane.lane_id: lane for lane in told.lanes_of_chosen or ()},
            jobs=told.jobs or (),
            requirements={
                r.id: Requirement(r.capabilities, r.tool or None, r.preferred_region or None)
                for r in told.requirements or ()
            },
            profiles={g.id: Profile(g.capabilities, g.tools, g.region) for g in told.profiles or ()},
        )


def _all(text: str | None, kind: type[Kind]) -> list[Kind]:
    """The objects of a JSON array; no array is an empty one."""
    return msgspec.json.decode(text, type=list[kind]) if text is not None else []  # type: ignore[valid-type]
