"""The claim: one at a time in the cell, in batches. It loads a snapshot, lets the rule decide, and writes that down."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from platform_core.domain import costs, scheduling
from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.scheduling import Decision, HandOut, Profile, QueuedJob, Requirement, Snapshot, Tenant
from platform_server.store.connection import Conn, Pool, retry_deadlock, transaction
from platform_server.store.sql import load

SQL = load("claims")

TokenHash = Callable[[JobId, int], str]


@dataclass(frozen=True, slots=True)
class Offer:
    """A waiting poll of an agent. ``waiting_since``: seconds since the epoch, by any clock; it only orders polls."""

    agent: AgentId
    profile: int
    max_jobs: int
    waiting_since: float


@dataclass(frozen=True, slots=True)
class HandedOut:
    """A job in its agent's hand: assigned, committed, and on its attempt. ``payload`` is the tenant's JSON text."""

    job: JobId
    tenant: TenantId
    agent: AgentId
    attempt: int
    type: str
    payload: bytes
    timeout_seconds: int
    traceparent: str | None
    waited: timedelta


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim handed out, in the rule's order, and whether jobs were left waiting, servable or not.

    ``unable``: agents that could take nothing at all: their slots were full, or they may have nothing new.
    """

    handed_out: Sequence[HandedOut]
    left_waiting: bool
    unable: Set[AgentId] = frozenset()


async def intern_profile(conn: Conn, profile: Profile) -> int:
    """The profile's number; the same for the same capabilities, tools and region, for ever."""
    key = (sorted(profile.capabilities), sorted(profile.tools), profile.region)
    found: int | None = await conn.fetchval(SQL["find_profile"], *key)
    if found is None:
        await conn.execute(SQL["intern_profile"], *key)
        found = await conn.fetchval(SQL["find_profile"], *key)
    assert found is not None
    return found


async def claim(pool: Pool, offers: Sequence[Offer], *, token_hash: TokenHash, region_patience: timedelta) -> Claimed:
    """Hand out queued jobs to the offers, by the rule, in one transaction; an agent may be given fewer or none.

    ``token_hash`` gives the SHA-256 of a job's token for an attempt. Raises Unavailable when Postgres is away or the
    claim before this one does not end.
    """

    async def once() -> Claimed:
        async with transaction(pool) as conn:
            await conn.execute(SQL["lock"])
            now: datetime = await conn.fetchval(SQL["now"])
            return await claim_at(conn, offers, token_hash=token_hash, patience=region_patience, now=now)

    return await retry_deadlock(once)


async def claim_at(
    conn: Conn, offers: Sequence[Offer], *, token_hash: TokenHash, patience: timedelta, now: datetime
) -> Claimed:
    """The claim as of ``now``, in a transaction of the caller's that holds the lock."""
    books = await _Books.open(conn)
    snapshot, attempts = await _snapshot(conn, books, offers, patience=patience, now=now)
    decision = scheduling.hand_out(snapshot)
    handed_out = await _assign(conn, decision.handed_out, attempts, token_hash=token_hash, now=now)
    await books.close(conn, snapshot, decision, {h.job for h in handed_out})
    able = {o.agent for o in snapshot.offers if o.running < o.max_concurrent}
    return Claimed(
        handed_out,
        left_waiting=len(snapshot.queued) > len(decision.handed_out),
        unable={o.agent for o in offers} - able,
    )


class _Books:
    """Turns and mean lengths: what ended since the last claim is folded in first, what changed is written last."""

    def __init__(self, corrections: Sequence[Any], fleet_mean: float) -> None:
        self._corrections = corrections
        self._stored_fleet_mean = fleet_mean
        self.fleet_mean = fleet_mean
        self._stored: dict[TenantId, tuple[float, bool, float | None]] = {}
        self.turns: dict[TenantId, float] = {}
        self.means: dict[TenantId, float | None] = {}

    @classmethod
    async def open(cls, conn: Conn) -> "_Books":
        corrections = await conn.fetch(SQL["fold_corrections"])
        return cls(sorted(corrections, key=lambda row: row["id"]), await conn.fetchval(SQL["fleet"]))

    @property
    def corrected_tenants(self) -> list[TenantId]:
        return [row["tenant_id"] for row in self._corrections]

    @property
    def corrected_profiles(self) -> list[int]:
        """Where the ended attempts ran, though nobody of that profile may be there any more."""
        return [row["profile_id"] for row in self._corrections if row["profile_id"] is not None]

    def fold(self, tenants: Sequence[Any], virtual_times: Mapping[int, float]) -> None:
        """Correct the turns of tenants whose attempts ended, by their true lengths."""
        weights = {row["id"]: row["weight"] for row in tenants}
        self._stored = {row["id"]: (row["turn"], row["contending"], row["mean_seconds"]) for row in tenants}
        self.turns = {row["id"]: row["turn"] for row in tenants}
        self.means = {row["id"]: row["mean_seconds"] for row in tenants}
        for row in self._corrections:
            t, held = row["tenant_id"], row["held_seconds"]
            if t not in weights:
                continue
            self.turns[t] = costs.corrected(
                self.turns[t],
                costs.Ended(charged=row["charged"], held_seconds=held),
                weight=weights[t],
                fleet_mean=self.fleet_mean,
                virtual_time=virtual_times.get(row["profile_id"], 0.0),
            )
            if held is not None:
                self.means[t] = costs.smoothed(self.means[t], latest=held, weight=costs.TENANT_SMOOTHING)
                self.fleet_mean = costs.smoothed(self.fleet_mean, latest=held, weight=costs.FLEET_SMOOTHING)

    def cost(self, tenant: TenantId) -> float:
        return costs.cost_of(self.means[tenant] or self.fleet_mean, fleet_mean=self.fleet_mean)

    async def close(self, conn: Conn, snapshot: Snapshot, decision: Decision, assigned: set[JobId]) -> None:
        """Write what changed. A job that was cancelled under the claim's hands is not charged."""
        turns = {**self.turns, **decision.turns}
        for h in decision.handed_out:
            if h.job not in assigned:
                turns[h.tenant] -= scheduling.charge(cost=h.cost, weight=snapshot.tenants[h.tenant].weight)
        latest = {t: (turn, t in decision.contending, self.means[t]) for t, turn in turns.items()}
        changed = sorted(t for t, row in latest.items() if row != self._stored[t])
        if changed:
            rows = [latest[t] for t in changed]
            await conn.execute(SQL["write_turns"], changed, *(list(column) for column in zip(*rows, strict=True)))
        moved = {g: v for g, v in decision.virtual_times.items() if v != snapshot.virtual_times.get(g)}
        if moved:
            await conn.execute(SQL["write_virtual_times"], list(moved), list(moved.values()))
        if self.fleet_mean != self._stored_fleet_mean:
            await conn.execute(SQL["write_fleet"], self.fleet_mean)


async def _snapshot(
    conn: Conn, books: _Books, offers: Sequence[Offer], *, patience: timedelta, now: datetime
) -> tuple[Snapshot, dict[JobId, int]]:
    offering = {row["id"]: row for row in await conn.fetch(SQL["offering"], [o.agent for o in offers])}
    standing = [
        scheduling.Offer(
            agent=o.agent,
            profile=o.profile,
            running=offering[o.agent]["running"],
            max_concurrent=offering[o.agent]["max_concurrent"],
            wanted=o.max_jobs,
            waiting_since=o.waiting_since,
        )
        for o in offers
        if o.agent in offering
    ]
    slots = {row["profile_id"]: row["slots"] for row in await conn.fetch(SQL["slots"], list(offering))}
    held: dict[TenantId, dict[int, int]] = defaultdict(dict)
    for row in await conn.fetch(SQL["held"]):
        held[row["tenant_id"]][row["profile_id"]] = row["jobs"]
    seen = {*slots, *(o.profile for o in offers), *_keys(held), *books.corrected_profiles}
    profiles = await conn.fetch(SQL["profiles"], list(seen))
    virtual_times = {row["id"]: row["v"] for row in profiles}
    known = await conn.fetch(SQL["tenants"], books.corrected_tenants)
    books.fold(known, virtual_times)
    tenants = [row for row in known if row["active"]]
    batch = sum(min(o.wanted, o.max_concurrent - o.running) for o in standing)
    queued = await conn.fetch(SQL["queued"], [row["id"] for row in tenants], max(batch, 0) + 1)
    requirements = await conn.fetch(SQL["requirements"], list({row["requirement_id"] for row in queued}))
    snapshot = Snapshot(
        now=now.timestamp(),
        patience=patience.total_seconds(),
        profiles={row["id"]: _profile(row) for row in profiles},
        requirements={row["id"]: _requirement(row) for row in requirements},
        slots=slots,
        virtual_times=virtual_times,
        tenants={
            row["id"]: Tenant(
                weight=row["weight"],
                running=sum(held[row["id"]].values()),
                running_on=held[row["id"]],
                turn=books.turns[row["id"]],
                contending=row["contending"],
                cost=books.cost(row["id"]),
            )
            for row in tenants
        },
        queued=[
            QueuedJob(
                job=row["id"],
                tenant=row["tenant_id"],
                base=row["base"],
                queued_at=row["queued_at"],
                requirement=row["requirement_id"],
            )
            for row in queued
        ],
        offers=standing,
    )
    return snapshot, {row["id"]: row["attempt"] for row in queued}


def _keys(held: Mapping[TenantId, Mapping[int, int]]) -> set[int]:
    return {g for on in held.values() for g in on}


def _profile(row: Any) -> Profile:
    return Profile(frozenset(row["capabilities"]), frozenset(row["tools"]), row["region"])


def _requirement(row: Any) -> Requirement:
    return Requirement(frozenset(row["capabilities"]), row["tool"] or None, row["preferred_region"] or None)


async def _assign(
    conn: Conn,
    decided: Sequence[HandOut],
    attempts: Mapping[JobId, int],
    *,
    token_hash: TokenHash,
    now: datetime,
) -> list[HandedOut]:
    """Write the hand-outs; those whose job is no longer queued fall away. Keeps the rule's order."""
    if not decided:
        return []
    rows = await conn.fetch(
        SQL["assign_if_queued"],
        [h.job for h in decided],
        [h.agent for h in decided],
        [h.profile for h in decided],
        [h.cost for h in decided],
        [token_hash(h.job, attempts[h.job] + 1) for h in decided],
        now,
    )
    assigned = {row["id"]: row for row in rows}
    return [_handed_out(assigned[h.job], now=now) for h in decided if h.job in assigned]


def _handed_out(row: Any, *, now: datetime) -> HandedOut:
    return HandedOut(
        job=row["id"],
        tenant=row["tenant_id"],
        agent=row["platform_agent_id"],
        attempt=row["attempt"],
        type=row["type"],
        payload=row["payload"].encode(),
        timeout_seconds=row["timeout_seconds"],
        traceparent=row["traceparent"],
        waited=now - row["queued_at"],
    )
