"""Filling the offered slots one after another, tenants as they stand."""

import heapq
from collections import defaultdict
from math import floor

from platform_core.domain.ids import AgentId, TenantId
from platform_core.domain.scheduling import HandOut, Offer, QueuedJob, Snapshot, Standing, charge
from platform_core.domain.waiting import Queue

# Below its share, then lower round, then published order.
_Key = tuple[bool, int, tuple[int, float, int]]


class Ledger:
    """Who holds how much, and whose turn it is, as the batch goes on."""

    def __init__(self, snapshot: Snapshot, standing: Standing, queue: Queue) -> None:
        self.turns = dict(standing.turns)
        self._now = snapshot.now
        self._tenants = snapshot.tenants
        self._shares = standing.shares
        self._queue = queue
        self._held = {t: tenant.running for t, tenant in snapshot.tenants.items()}
        self._held_on = {t: defaultdict(int, tenant.running_on) for t, tenant in snapshot.tenants.items()}
        self._lines: dict[int, list[tuple[_Key, TenantId]]] = {}

    def below_cap(self, t: TenantId) -> bool:
        return self._held[t] < self._tenants[t].weight

    def take(self, offer: Offer) -> HandOut | None:
        """The job for the next slot of this offer; None when nobody has one for it.

        Tenants stand in line. Within a batch nobody's place gets better, so whoever is first by its place of a while
        ago, and still has that place, is first; whoever has lost it goes back into the line.
        """
        g = offer.profile
        line = self._line(g)
        while line:
            place, t = line[0]
            now = self._place(t, g)
            if now is None:
                heapq.heappop(line)
            elif now[0] != place:
                heapq.heapreplace(line, (now[0], t))
            else:
                return self._enter(now[1], offer)
        return None

    def _line(self, g: int) -> list[tuple[_Key, TenantId]]:
        if g not in self._lines:
            places = [(place[0], t) for t in self._queue.waiting_for(g) if (place := self._place(t, g)) is not None]
            heapq.heapify(places)
            self._lines[g] = places
        return self._lines[g]

    def _place(self, t: TenantId, g: int) -> tuple[_Key, QueuedJob] | None:
        job = self._queue.first(t, g) if self.below_cap(t) else None
        if job is None:
            return None
        return (self._held_on[t][g] >= self._shares[g, t], floor(self.turns[t]), job.rank(self._now)), job

    def _enter(self, job: QueuedJob, offer: Offer) -> HandOut:
        tenant = self._tenants[job.tenant]
        self._queue.remove(job)
        self._held[job.tenant] += 1
        self._held_on[job.tenant][offer.profile] += 1
        self.turns[job.tenant] += charge(cost=tenant.cost, weight=tenant.weight)
        return HandOut(job.job, job.tenant, offer.agent, offer.profile, tenant.cost)


class Slots:
    """The offered slots: the least loaded agent first, then the least capable, then the longest wait, then id.

    An agent may offer by several polls at once (its answer was lost, say): its load counts over all of them.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._offers = snapshot.offers
        self._profiles = snapshot.profiles
        self._taken: dict[AgentId, int] = defaultdict(int)
        self._wanted = [offer.wanted for offer in snapshot.offers]
        self._last = -1
        self._heap: list[tuple[float, int, float, int, int]] = []
        for place in range(len(snapshot.offers)):
            self._push(place)

    def take(self) -> Offer | None:
        """The next slot; the caller says `filled` when it gave it a job."""
        while self._heap:
            load, *_, place = heapq.heappop(self._heap)
            offer = self._offers[place]
            if load == self._load(offer):
                self._last = place
                return offer
            self._push(place)
        return None

    def filled(self) -> None:
        """The slot taken last was filled; the offer's other slots stand in line again."""
        self._taken[self._offers[self._last].agent] += 1
        self._wanted[self._last] -= 1
        self._push(self._last)

    def _load(self, offer: Offer) -> float:
        return (offer.running + self._taken[offer.agent]) / offer.max_concurrent

    def _push(self, place: int) -> None:
        offer = self._offers[place]
        load = self._load(offer)
        if self._wanted[place] > 0 and load < 1:
            breadth = self._profiles[offer.profile].breadth
            heapq.heappush(self._heap, (load, breadth, offer.waiting_since, offer.agent.int, place))
