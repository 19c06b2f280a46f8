"""What the claim reads: the answer of one statement, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from msgspec import Struct

from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.scheduling import Profile, Requirement


class Offering(Struct, frozen=True):
    id: AgentId
    max_concurrent: int
    running: int


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


class _Look(Struct, frozen=True):
    """As it comes; ``ranking`` null: nothing waits, and nothing did."""

    now: datetime
    fleet_mean: float
    ended: list[int]
    corrected: list[TenantId]
    turns: list[float]
    means: list[float | None]
    offering: list[Offering]
    slot_profiles: list[int]
    slots: list[int]
    virtual_times: list[VirtualTime]
    wakes: list[int]
    woken: list[Woken]
    ranking: _Ranking | None


@dataclass(frozen=True, slots=True)
class Look:
    """The answer of ``begin``. What ended since the last claim is in ``fleet_mean``, ``turns`` and ``means``.

    ``ended`` and ``wakes`` are the rows that were taken in.
    """

    now: datetime
    fleet_mean: float
    ended: Sequence[int]
    turns: Mapping[TenantId, float]
    means: Mapping[TenantId, float | None]
    offering: Mapping[AgentId, Offering]
    slots: Mapping[int, int]
    virtual_times: Mapping[int, float]
    wakes: Sequence[int]
    woken: Sequence[Woken]
    ranking: "Ranking"

    @classmethod
    def of(cls, text: str) -> "Look":
        told = msgspec.json.decode(text, type=_Look)
        return cls(
            now=told.now,
            fleet_mean=told.fleet_mean,
            ended=told.ended,
            turns=dict(zip(told.corrected, told.turns, strict=True)),
            means=dict(zip(told.corrected, told.means, strict=True)),
            offering={agent.id: agent for agent in told.offering},
            slots=dict(zip(told.slot_profiles, told.slots, strict=True)),
            virtual_times={vt.profile_id: vt.v for vt in told.virtual_times},
            wakes=told.wakes,
            woken=told.woken,
            ranking=Ranking.of(told.ranking) if told.ranking is not None else NOBODY,
        )


@dataclass(frozen=True, slots=True)
class Ranking:
    """How the tenants stand, and the foremost of them. ``lanes``: how many have a job."""

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
    def of(cls, told: _Ranking) -> "Ranking":
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


NOBODY = Ranking(
    lanes=0, virtual_times={}, active={}, tenants=(), held=(), lanes_of_chosen={}, jobs=(), requirements={},
    profiles={},
)  # fmt: skip
