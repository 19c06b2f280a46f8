"""The tenants' turns and mean lengths in a claim: what ended since the last one is folded in before the ranking."""

from platform_core.domain import costs
from platform_core.domain.ids import TenantId
from platform_server.store.claim_reads import Look, Ranking


class Books:
    """``turns`` of the tenants whose attempts ended, corrected by their true lengths; ``fleet_mean`` likewise."""

    def __init__(self, look: Look) -> None:
        self.fleet_mean = look.fleet_mean
        self.turns = {tenant.id: tenant.turn for tenant in look.corrected}
        self._means = {tenant.id: tenant.mean_seconds for tenant in look.corrected}
        weights = {tenant.id: tenant.weight for tenant in look.corrected}
        for ended in look.ended:
            t, held = ended.tenant_id, ended.held_seconds
            if t not in weights:
                continue
            self.turns[t] = costs.corrected(
                self.turns[t],
                costs.Ended(charged=ended.charged, held_seconds=held),
                weight=weights[t],
                fleet_mean=self.fleet_mean,
                virtual_time=look.virtual_times.get(ended.profile_id, 0.0) if ended.profile_id is not None else 0.0,
            )
            if held is not None:
                self._means[t] = costs.smoothed(self._means[t], latest=held, weight=costs.TENANT_SMOOTHING)
                self.fleet_mean = costs.smoothed(self.fleet_mean, latest=held, weight=costs.FLEET_SMOOTHING)

    def take_in(self, ranking: Ranking) -> None:
        """The mean lengths of the tenants that were ranked."""
        for ranked in ranking.tenants:
            self._means.setdefault(ranked.tenant_id, ranked.mean_seconds)

    def mean(self, tenant: TenantId) -> float | None:
        return self._means.get(tenant)

    def cost(self, tenant: TenantId) -> float:
        """What the tenant's next hand-out is charged."""
        return costs.cost_of(self.mean(tenant) or self.fleet_mean, fleet_mean=self.fleet_mean)
