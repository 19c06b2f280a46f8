"""Rules that look good and fail (docs/scheduling.md): each is the model with one part taken away."""

from collections.abc import Mapping
from dataclasses import replace
from math import floor, inf

from platform_core.domain.ids import TenantId
from platform_core.domain.rule import fill
from platform_core.domain.scheduling import Decision, Snapshot, Standing, Tenant
from platform_core.domain.standing import stand
from platform_core.domain.waiting import Queue


def published_order(snapshot: Snapshot) -> Decision:
    """The published priority alone: neither shares nor rounds."""
    return rounds_alone(_without_turns(snapshot))


def shares_alone(snapshot: Snapshot) -> Decision:
    """Step 1 without step 2."""
    return fill(_without_turns(snapshot), _standing(_without_turns(snapshot)))


def rounds_alone(snapshot: Snapshot) -> Decision:
    """Step 2 without step 1: everybody is always below its share."""
    standing = _standing(snapshot)
    return fill(snapshot, replace(standing, shares=dict.fromkeys(standing.shares, inf)))


def shares_of_everything(snapshot: Snapshot) -> Decision:
    """Shares over all slots and all that wait, whoever can serve them."""
    standing = _standing(snapshot)
    slots = sum(snapshot.slots.values())
    weight = sum(snapshot.tenants[t].weight for t in {job.tenant for job in snapshot.queued} & {*snapshot.tenants})
    shares = {(g, t): slots * snapshot.tenants[t].weight / weight for g, t in standing.shares}
    return fill(snapshot, replace(standing, shares=shares))


def one_virtual_time(snapshot: Snapshot) -> Decision:
    """One V for the whole fleet, its highest round: where everybody who starts to wait begins."""
    rounds = [floor(tenant.turn) for tenant in snapshot.tenants.values() if tenant.contending]
    highest = max([*rounds, *snapshot.virtual_times.values(), 0])
    turns = {
        t: tenant.turn if tenant.contending else max(tenant.turn, highest) for t, tenant in snapshot.tenants.items()
    }
    standing = replace(_standing(snapshot), turns=turns, virtual_times=dict.fromkeys(snapshot.profiles, float(highest)))
    return fill(snapshot, standing)


def _standing(snapshot: Snapshot) -> Standing:
    return stand(snapshot, Queue(snapshot))


def _without_turns(snapshot: Snapshot) -> Snapshot:
    tenants: Mapping[TenantId, Tenant] = {
        t: replace(tenant, turn=0.0, cost=0.0) for t, tenant in snapshot.tenants.items()
    }
    return replace(snapshot, tenants=tenants, virtual_times={})
