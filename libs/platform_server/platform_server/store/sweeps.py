"""What queue-maintenance does to jobs: one bounded batch a call."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from platform_core.domain.attempts import AttemptOutcome, GiveUp, after_lost_attempt
from platform_core.domain.ids import AgentId, JobId, TenantId
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


async def recover(conn: Conn, deadlines: Deadlines, *, max_retries: int, limit: int) -> Settled:
    """Bring back jobs whose attempt is over without a result."""
    return await _settle(
        conn, await conn.fetch(SQL["lock_lost"], limit, deadlines.ack, deadlines.silence), max_retries=max_retries
    )


async def recover_from_agent(conn: Conn, agent: AgentId, *, max_retries: int) -> Settled:
    """Bring back what an agent held that is known to be offline; nothing if it is online again."""
    return await _settle(conn, await conn.fetch(SQL["lock_lost_of_offline_agent"], agent), max_retries=max_retries)


async def free_unconfirmed(conn: Conn, *, after: timedelta, limit: int) -> int:
    return int(await conn.fetchval(SQL["free_unconfirmed"], limit, after))


async def expire(conn: Conn, *, after: timedelta, limit: int) -> list[Expired]:
    rows = await conn.fetch(SQL["expire_old"], limit, after)
    return [Expired(row["id"], row["tenant_id"], row["attempt"]) for row in rows]


async def refresh_priorities(conn: Conn, *, limit: int) -> int:
    return len(await conn.fetch(SQL["refresh_priorities"], limit))


async def delete_finished(conn: Conn, *, after: timedelta, limit: int) -> int:
    return len(await conn.fetch(SQL["delete_finished"], limit, after))


async def delete_leftovers(conn: Conn) -> None:
    """Idempotency keys of yesterday, agents' keys that ended."""
    await conn.execute(SQL["delete_old_idempotency_keys"])
    await conn.execute(SQL["delete_expired_agent_keys"])


async def open_jobs(conn: Conn) -> dict[str, tuple[int, float]]:
    """Open jobs by state, and the age in seconds of the oldest."""
    return {row["status"]: (row["jobs"], row["oldest_seconds"]) for row in await conn.fetch(SQL["open_jobs"])}


async def _settle(conn: Conn, lost: Sequence[Any], *, max_retries: int) -> Settled:
    again: list[Ended] = []
    over: list[Ended] = []
    for row in lost:
        outcome = AttemptOutcome(row["outcome"])
        if outcome is not AttemptOutcome.LOST:
            again.append(Ended(row["id"], row["attempt"], outcome, row["reason"]))
            continue
        decided = after_lost_attempt(retry_count=row["retry_count"], max_retries=max_retries)
        if isinstance(decided, GiveUp):
            reason = f"{row['reason']}; {decided.reason}"
            over.append(Ended(row["id"], row["attempt"], outcome, reason))
        else:
            spent = decided.retry_count - row["retry_count"]
            again.append(Ended(row["id"], row["attempt"], outcome, row["reason"], retries_spent=spent))
    return Settled(await attempts.requeue(conn, again), await attempts.give_up(conn, over))
