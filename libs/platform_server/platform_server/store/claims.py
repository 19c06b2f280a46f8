"""The claim: one at a time in the cell, in batches. SQL ranks the tenants, the rule decides, SQL writes that down."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from platform_core.domain import scheduling
from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.scheduling import Profile
from platform_server.store.claim_batch import Batch, TokenHash
from platform_server.store.claim_reads import Look
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("claims")


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
    assigned_at: datetime
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


async def slots(conn: Conn) -> Mapping[int, int]:
    """S_g: the slots of the agents that are online, enabled and not draining, by what their latest poll offered."""
    return {row["profile_id"]: row["slots"] for row in await conn.fetch(SQL["slots"])}


async def claim_at(
    conn: Conn,
    offers: Sequence[Offer],
    *,
    slots: Mapping[int, int],
    token_hash: TokenHash,
    patience: timedelta,
    begin: str = SQL["begin"],
    now: datetime | None = None,
) -> Claimed:
    """The claim as of ``now``; None: when it has begun. The caller holds the lock, unless ``begin`` takes it.

    It writes by one statement; another gives back what was charged for jobs that were cancelled meanwhile.
    """
    text = await conn.fetchval(
        begin,
        [o.agent for o in offers],
        [o.profile for o in offers],
        [o.max_jobs for o in offers],
        list(slots),
        list(slots.values()),
        patience.total_seconds(),
        now,
    )
    look = Look.of(text)
    standing = [_offer(o, look) for o in offers if o.agent in look.offering]
    batch = Batch(look, standing, patience=patience)
    await batch.decide(conn)
    assigned = await batch.write(conn, token_hash=token_hash)
    handed_out = [_handed_out(assigned[h.job], now=look.now) for h in batch.decision.handed_out if h.job in assigned]
    able = {o.agent for o in standing if o.running < o.max_concurrent}
    return Claimed(handed_out, left_waiting=batch.left_waiting, unable={o.agent for o in offers} - able)


def _offer(o: Offer, look: Look) -> scheduling.Offer:
    agent = look.offering[o.agent]
    return scheduling.Offer(o.agent, o.profile, agent.running, agent.max_concurrent, o.max_jobs, o.waiting_since)


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
        assigned_at=now,
        waited=now - row["queued_at"],
    )
