"""How tenants stand when a batch begins: whose turn it is, by what virtual time, and what share each may have."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import floor, inf

from platform_core.domain.costs import MAX_DEBT_ROUNDS
from platform_core.domain.ids import TenantId
from platform_core.domain.scheduling import Snapshot, Standing
from platform_core.domain.waiting import Queue


def stand(snapshot: Snapshot, queue: Queue) -> Standing:
    turns, virtual_times = _join(snapshot, queue)
    return Standing(turns, virtual_times, _shares(snapshot, queue))


def _join(snapshot: Snapshot, queue: Queue) -> tuple[dict[TenantId, float], dict[int, float]]:
    """Bring tenants that start to wait, or are servable again, to the virtual time; return all turns and every V_g.

    Nobody saves up credit while idle, nor brings a larger debt than a job may leave: a turn that was reached where
    rounds are quick (alone on an island) would be hours away elsewhere. Who waited since the last claim, and could be
    served but for its cap, is not moved: at its cap it holds a slot for each of its weight, and nobody gets more.
    """
    turns = {t: tenant.turn for t, tenant in snapshot.tenants.items()}
    servable = {t: queue.servable_on(t) for t, tenant in snapshot.tenants.items() if tenant.running < tenant.weight}
    staying = {t: on for t, on in servable.items() if snapshot.tenants[t].contending}
    before = _virtual_times(snapshot, turns, staying)
    for t, on in servable.items():
        if on and t not in staying:
            begin = min(before[g] for g in on)
            turns[t] = max(begin, min(turns[t], begin + MAX_DEBT_ROUNDS))
    return turns, _virtual_times(snapshot, turns, servable)


def _virtual_times(
    snapshot: Snapshot, turns: Mapping[TenantId, float], servable: Mapping[TenantId, Sequence[int]]
) -> dict[int, float]:
    """V_g: the lowest round among the waiting, uncapped tenants that g can serve; it never goes back."""
    lowest: dict[int, float] = defaultdict(lambda: inf)
    for t, on in servable.items():
        for g in on:
            lowest[g] = min(lowest[g], floor(turns[t]))
    stored = {g: snapshot.virtual_times.get(g, 0.0) for g in snapshot.profiles}
    return {g: max(v, lowest[g]) if lowest[g] < inf else v for g, v in stored.items()}


def _shares(snapshot: Snapshot, queue: Queue) -> dict[tuple[int, TenantId], float]:
    """share_g(t): the slots of g, by weight, among the tenants that are active in g."""
    shares: dict[tuple[int, TenantId], float] = {}
    for g in snapshot.profiles:
        waiting = {t for t in queue.waiting_for(g) if snapshot.tenants[t].running < snapshot.tenants[t].weight}
        active = waiting | {t for t, tenant in snapshot.tenants.items() if tenant.running_on.get(g)}
        total = sum(snapshot.tenants[t].weight for t in active)
        for t in active:
            shares[g, t] = snapshot.slots.get(g, 0) * snapshot.tenants[t].weight / total
    return shares
