"""One claim after SQL has ranked the tenants: the rule decides, SQL writes that down."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from platform_core.domain import costs, rule
from platform_core.domain.ids import JobId, TenantId
from platform_core.domain.scheduling import Decision, HandOut, Offer, QueuedJob, Snapshot, Standing, Tenant, charge
from platform_server.store.claim_reads import Look, Waiting
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("claims")

TokenHash = Callable[[JobId, int], str]


class Batch:
    def __init__(self, look: Look, offers: Sequence[Offer], *, patience: timedelta) -> None:
        self._look = look
        self._ranking = look.ranking
        self._offers = offers
        self._patience = patience
        self._means = {**{t.tenant_id: t.mean_seconds for t in self._ranking.tenants}, **look.means}
        self._jobs = _by_lane(self._ranking.lanes_of_chosen, self._ranking.jobs)
        self.decision = Decision([], {}, frozenset(), {})

    @property
    def left_waiting(self) -> bool:
        """Whether more lanes were ranked than are empty now; a woken lane that was empty before was not ranked."""
        heads = self._heads()
        return self._ranking.lanes > sum(lane in heads and heads[lane] is None for lane in self._jobs)

    async def decide(self, conn: Conn) -> None:
        """Let the rule decide; read deeper when it has used up a lane of which more may wait."""
        lanes = self._ranking.lanes_of_chosen
        factor = 1
        self.decision = self._decided()
        while any(taken >= lanes[lane].depth * factor for lane, taken in self._taken().items()):
            factor *= 4
            heads = [lane.queued_at for lane in lanes.values()]
            rows = await conn.fetch(SQL["deeper"], list(lanes), heads, [x.depth * factor for x in lanes.values()])
            self._jobs = _by_lane(lanes, (Waiting(r["lane_id"], r["id"], r["attempt"], r["queued_at"]) for r in rows))
            self.decision = self._decided()

    async def write(self, conn: Conn, *, token_hash: TokenHash) -> Mapping[JobId, Any]:
        """Write all that was decided and all that changed; returns the rows of the jobs that were still queued."""
        decided = self.decision.handed_out
        attempts = {job.id: job.attempt for jobs in self._jobs.values() for job in jobs}
        turns = {**self._look.turns, **self.decision.turns}
        moved = {g: v for g, v in self.decision.virtual_times.items() if v != self._look.virtual_times.get(g, 0.0)}
        heads = self._heads()
        if not (turns or moved or heads or self._look.ended or self._look.wakes):
            return {}
        rows = await conn.fetch(
            SQL["assign_if_queued"],
            [h.job for h in decided],
            [h.agent for h in decided],
            [h.profile for h in decided],
            [h.cost for h in decided],
            [token_hash(h.job, attempts[h.job] + 1) for h in decided],
            self._look.now,
            list(turns),
            list(turns.values()),
            [t in self.decision.contending for t in turns],
            [self._means.get(t) for t in turns],
            list(moved),
            list(moved.values()),
            [lane for lane, head in heads.items() if head is not None],
            [head for head in heads.values() if head is not None],
            [lane for lane, head in heads.items() if head is None],
            self._look.ended,
            self._look.wakes,
            self._look.fleet_mean,
        )
        assigned = {row["id"]: row for row in rows}
        if len(assigned) < len(decided):
            await self._give_back(conn, [h for h in decided if h.job not in assigned])
        return assigned

    async def _give_back(self, conn: Conn, gone: Sequence[HandOut]) -> None:
        weights = {ranked.tenant_id: ranked.weight for ranked in self._ranking.tenants}
        turns: dict[TenantId, float] = defaultdict(float)
        for h in gone:
            turns[h.tenant] += charge(cost=h.cost, weight=weights[h.tenant])
        await conn.execute(SQL["give_back"], list(turns), list(turns.values()))

    def _decided(self) -> Decision:
        held: dict[TenantId, dict[int, int]] = defaultdict(dict)
        for row in self._ranking.held:
            if row.profile_id is not None:
                held[row.tenant_id][row.profile_id] = row.jobs
        return rule.fill(self._snapshot(held), self._standing())

    def _snapshot(self, held: Mapping[TenantId, Mapping[int, int]]) -> Snapshot:
        lanes = self._ranking.lanes_of_chosen
        return Snapshot(
            now=self._look.now.timestamp(),
            patience=self._patience.total_seconds(),
            profiles=self._ranking.profiles,
            requirements=self._ranking.requirements,
            slots=self._look.slots,
            virtual_times=self._look.virtual_times,
            tenants={
                t.tenant_id: Tenant(
                    weight=t.weight,
                    running=t.running,
                    running_on=held[t.tenant_id],
                    turn=t.turn,
                    contending=t.contending,
                    cost=self._cost(t.tenant_id),
                )
                for t in self._ranking.tenants
            },
            queued=[
                QueuedJob(
                    job=job.id,
                    tenant=lanes[lane].tenant_id,
                    base=lanes[lane].base,
                    queued_at=job.queued_at.timestamp(),
                    requirement=lanes[lane].requirement_id,
                )
                for lane, jobs in self._jobs.items()
                for job in jobs
            ],
            offers=self._offers if self._ranking.tenants else (),
        )

    def _standing(self) -> Standing:
        return Standing(
            turns={t.tenant_id: t.turn for t in self._ranking.tenants},
            virtual_times=self._ranking.virtual_times,
            shares={
                (g, t.tenant_id): self._look.slots.get(g, 0) * t.weight / weight
                for g, weight in self._ranking.active.items()
                for t in self._ranking.tenants
            },
        )

    def _cost(self, tenant: TenantId) -> float:
        """What the tenant's next hand-out is charged."""
        mean = self._look.fleet_mean
        return costs.cost_of(self._means.get(tenant) or mean, fleet_mean=mean)

    def _taken(self) -> Counter[int]:
        """How many jobs of each lane were handed out."""
        lane_of = {job.id: lane for lane, jobs in self._jobs.items() for job in jobs}
        return Counter(lane_of[h.job] for h in self.decision.handed_out)

    def _heads(self) -> dict[int, datetime | None]:
        """The heads that change: of lanes that somebody touched, and of those that jobs were taken from."""
        heads: dict[int, datetime | None] = {lane.id: lane.queued_at for lane in self._look.woken}
        taken = self._taken()
        for lane, jobs in self._jobs.items():
            if taken[lane] or not jobs:
                left = jobs[taken[lane] :]
                heads[lane] = left[0].queued_at if left else None
        return heads


def _by_lane(lanes: Iterable[int], jobs: Iterable[Waiting]) -> dict[int, list[Waiting]]:
    """Every lane's jobs, oldest first; a lane may have none: its head was cancelled, say."""
    found: dict[int, list[Waiting]] = {lane: [] for lane in lanes}
    for job in jobs:
        found[job.lane_id].append(job)
    for waiting in found.values():
        waiting.sort(key=lambda job: (job.queued_at, job.id.int))
    return found
