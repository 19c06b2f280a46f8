"""Idempotency keys: what was first answered to a submission, kept beside the job and longer than it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("idempotency")

Key = tuple[TenantId, str]


@dataclass(frozen=True, slots=True)
class Assignment:
    """An agent holds a job, from then on."""

    agent: AgentId
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAnswer:
    """What the first submission with a key was told. ``assignment`` is there if it told of one."""

    body_hash: str
    job: JobId
    position: int
    queued_at: datetime
    assignment: Assignment | None = None


async def hold(conn: Conn, keys: Collection[Key]) -> set[Key]:
    """Make the keys ours until the transaction ends. Returns those that are another transaction's at this moment."""
    if not keys:
        return set()
    rows = await conn.fetch(SQL["hold"], *_columns(keys))
    return {(row["tenant_id"], row["key"]) for row in rows if not row["ours"]}


async def find(conn: Conn, keys: Collection[Key]) -> Mapping[Key, FirstAnswer]:
    """The first answers to those of the keys that were used in the last 24 hours."""
    if not keys:
        return {}
    rows = await conn.fetch(SQL["find"], *_columns(keys))
    return {
        (row["tenant_id"], row["key"]): FirstAnswer(
            body_hash=row["body_hash"],
            job=row["job_id"],
            position=row["position"],
            queued_at=row["queued_at"],
            assignment=None if row["agent_id"] is None else Assignment(row["agent_id"], row["assigned_at"]),
        )
        for row in rows
    }


async def remember(conn: Conn, answers: Mapping[Key, FirstAnswer]) -> None:
    if answers:
        await conn.execute(
            SQL["remember"],
            *_columns(answers),
            [answer.body_hash for answer in answers.values()],
            [answer.job for answer in answers.values()],
            [answer.position for answer in answers.values()],
            [answer.queued_at for answer in answers.values()],
        )


async def note_told(conn: Conn, key: Key, job: JobId, assignment: Assignment) -> None:
    """The first answer tells of an assignment: so will those that repeat it."""
    await conn.execute(SQL["note_told"], *key, job, assignment.agent, assignment.at)


def _columns(keys: Collection[Key]) -> tuple[list[TenantId], list[str]]:
    return [tenant for tenant, _ in keys], [key for _, key in keys]
