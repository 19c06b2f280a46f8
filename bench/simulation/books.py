"""What a claim leaves for the next one: turns, mean lengths, who waits and can be served, and every V."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from platform_core.domain import costs
from platform_core.domain.ids import TenantId
from platform_core.domain.scheduling import Decision, Tenant


@dataclass
class Books:
    turns: dict[TenantId, float] = field(default_factory=dict)
    means: dict[TenantId, float] = field(default_factory=dict)
    fleet_mean: float = 60.0
    contending: frozenset[TenantId] = frozenset()
    virtual_times: dict[int, float] = field(default_factory=dict)

    def tenant(self, t: TenantId, *, weight: int, held: Mapping[int, int]) -> Tenant:
        cost = costs.cost_of(self.means.get(t, self.fleet_mean), fleet_mean=self.fleet_mean)
        return Tenant(weight, sum(held.values()), held, self.turns.get(t, 0.0), t in self.contending, cost)

    def note(self, decision: Decision) -> None:
        self.turns |= decision.turns
        self.contending = decision.contending
        self.virtual_times |= decision.virtual_times

    def correct(self, t: TenantId, profile: int, *, weight: int, charged: float, held_seconds: float) -> None:
        self.turns[t] = costs.corrected(
            self.turns[t],
            costs.Ended(charged, held_seconds),
            weight=weight,
            fleet_mean=self.fleet_mean,
            virtual_time=self.virtual_times[profile],
        )
        mean, fleet_mean = self.means.get(t), self.fleet_mean
        self.means[t] = costs.smoothed(mean, latest=held_seconds, weight=costs.TENANT_SMOOTHING)
        self.fleet_mean = costs.smoothed(fleet_mean, latest=held_seconds, weight=costs.FLEET_SMOOTHING)
