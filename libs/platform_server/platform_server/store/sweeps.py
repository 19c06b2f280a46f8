"""What queue-maintenance does to jobs: one bounded batch a call."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from platform_core.domain.attempts import AttemptOutcome, GiveUp, after_lost_attempt
from platform_core.domain.ids import JobId, TenantId
from platform_server.store import attempts
from platform_server.store.attempts import Ended, Failed, Requeued
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("sweeps")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """``ack``: from hand-out to ack; ``silence``: since the agent's last sign of life."""

    ack: timedelta
    silence: timedelta


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt that is over without a result. Only the outcome ``lost`` spends a retry."""

    job: JobId
    attempt: int
    retry_count: int
    outcome: AttemptOutcome
    reason: str


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of lost attempts."""

    requeued: Sequence[Requeued]
    failed: Sequence[Failed]

    @property
    def ended(self) -> Sequence[Requeued | Failed]:
        return (*self.requeued, *self.failed)


@dataclass(frozen=True, slots=True)
class Expired:
    job: JobId
    tenant: TenantId
    attempt: int


@dataclass(frozen=True, slots=True)
class Place:
    """How far a walk through the queue, oldest first, has come."""

    queued_at: datetime
    job: UUID


FRONT: Final = Place(datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))


async def lock_lost(conn: Conn, deadlines: Deadlines, *, limit: int) -> list[Lost]:
    """Jobs that somebody must bring back; locked until the transaction ends."""
    rows = await conn.fetch(SQL["lock_lost"], limit, deadlines.ack, deadlines.silence)
    return [
        Lost(row["id"], row["attempt"], row["retry_count"], AttemptOutcome(row["outcome"]), row["reason"])
        for row in rows
    ]


async def settle(conn: Conn, lost: Sequence[Lost], *, max_retries: int) -> Settled:
    """Requeue them, or fail them for good, those that are still on these attempts."""
    again: list[Ended] = []
    over: list[Ended] = []
    for attempt in lost:
        if attempt.outcome is not AttemptOutcome.LOST:
            again.append(Ended(attempt.job, attempt.attempt, attempt.outcome, attempt.reason))
            continue
        match after_lost_attempt(retry_count=attempt.retry_count, max_retries=max_retries):
            case GiveUp(reason):
                why = f"{attempt.reason}; {reason}"
                over.append(Ended(attempt.job, attempt.attempt, attempt.outcome, why))
            case _:
                ended = Ended(attempt.job, attempt.attempt, attempt.outcome, attempt.reason, retries_spent=1)
                again.append(ended)
    return Settled(await attempts.requeue(conn, again), await attempts.give_up(conn, over))


async def free_unconfirmed(conn: Conn, *, after: timedelta, limit: int) -> int:
    """Free the slots of jobs that were cancelled so long ago; returns how many."""
    return int(await conn.fetchval(SQL["free_unconfirmed"], limit, after))


async def expire(conn: Conn, *, after: timedelta, limit: int) -> list[Expired]:
    """End jobs that have waited so long."""
    rows = await conn.fetch(SQL["expire_old"], limit, after)
    return [Expired(row["id"], row["tenant_id"], row["attempt"]) for row in rows]


async def refresh_priorities(conn: Conn, place: Place, *, limit: int) -> tuple[int, Place | None]:
    """Refresh one stretch of the queue, from ``place`` on: how many rows changed, and where it goes on, if it does."""
    rows = await conn.fetch(SQL["refresh_priorities"], limit, place.queued_at, place.job)
    refreshed = sum(row["refreshed"] for row in rows)
    return refreshed, Place(rows[-1]["queued_at"], rows[-1]["id"]) if len(rows) == limit else None


async def wake_forgotten_lanes(conn: Conn, *, limit: int) -> int:
    """Have the claim look at lanes whose first job it does not know; returns how many, which should be 0."""
    return len(await conn.fetch(SQL["wake_forgotten_lanes"], limit))


async def delete_idempotency_keys(conn: Conn, *, after: timedelta, limit: int) -> int:
    """Forget submissions of so long ago; returns how many."""
    return len(await conn.fetch(SQL["delete_old_idempotency_keys"], limit, after))


async def delete_ended(conn: Conn) -> int:
    """Forget agents' keys and bans that are over; returns how many."""
    keys = await conn.fetch(SQL["delete_expired_agent_keys"])
    return len(keys) + len(await conn.fetch(SQL["delete_ended_bans"]))
