"""Submissions, in batches: judged against the tenant's room and the keys that were seen, placed, queued."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from platform_core.domain.errors import IdempotencyInFlight, IdempotencyMismatch, QueueFull, TenantUnknown
from platform_core.domain.ids import JobId, TenantId
from platform_core.domain.jobs import JobType, Priority
from platform_core.domain.priority import base_priority
from platform_core.domain.scheduling import Requirement
from platform_server.store import idempotency, lanes
from platform_server.store.connection import Conn
from platform_server.store.idempotency import Assignment, FirstAnswer, Key
from platform_server.store.sql import load

SQL = load("submissions")


@dataclass(frozen=True, slots=True)
class NewJob:
    """``payload`` is the tenant's JSON text. ``key`` and ``body_hash`` are there for an idempotent submission."""

    id: JobId
    tenant: TenantId
    type: JobType
    priority: Priority
    payload: str
    requirement: Requirement
    timeout_seconds: int
    auth_token_hash: str
    retry_of: JobId | None
    traceparent: str | None
    key: str | None
    body_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """``id`` is another than that of the submission when its key was seen before: ``replayed``.

    ``assignment``: what the first answer told of, if it did.
    """

    id: JobId
    position: int
    queued_at: datetime
    replayed: bool = False
    assignment: Assignment | None = None


async def submit(conn: Conn, asked: Sequence[NewJob]) -> list[Accepted | Exception]:
    """Queue them, in a transaction of the caller's. One result or error an item.

    Errors: QueueFull, TenantUnknown, IdempotencyMismatch; IdempotencyInFlight while another submission has the key.
    The limit is exact with any number of callers: submissions of one tenant stand in line at its row, and what is
    counted after that sees all that were committed before.
    """
    keys = set[Key]().union(*map(_key_of, asked))
    in_flight = await idempotency.hold(conn, keys)
    # Who is refused for a key in flight does not wait in line for the submission that has it.
    tenants = sorted({job.tenant for job in asked if in_flight.isdisjoint(_key_of(job))})
    room = {row["tenant_id"]: _Room(row) for row in await conn.fetch(SQL["room"], tenants)}
    seen = await idempotency.find(conn, keys)
    judged: list[_Placed | Accepted | Exception] = []
    for job in asked:
        verdict = _judge(job, room.get(job.tenant), in_flight=in_flight, seen=seen)
        if isinstance(verdict, _Placed):
            in_flight |= _key_of(job)
        judged.append(verdict)
    queued = await _insert(conn, [verdict for verdict in judged if isinstance(verdict, _Placed)])
    return [queued[verdict.job.id] if isinstance(verdict, _Placed) else verdict for verdict in judged]


@dataclass(frozen=True, slots=True)
class _Placed:
    """A job that may be queued, with its 1-based place among its tenant's own."""

    job: NewJob
    position: int


class _Room:
    """A tenant's queue while a batch of its submissions is judged."""

    def __init__(self, row: Any) -> None:
        self._limit: int = row["size_limit"]
        self._size: int = row["size"]
        self._before: dict[Priority, int] = {priority: row[f"before_{priority}"] for priority in Priority}

    def take(self, job: NewJob) -> _Placed | QueueFull:
        """The job's place, and one place less: whoever comes later with no higher priority stands behind it."""
        if self._size >= self._limit:
            return QueueFull(limit=self._limit, size=self._size)
        placed = _Placed(job, self._before[job.priority] + 1)
        self._size += 1
        for priority in Priority:
            if base_priority(priority) <= base_priority(job.priority):
                self._before[priority] += 1
        return placed


def _key_of(job: NewJob) -> set[Key]:
    return set() if job.key is None else {(job.tenant, job.key)}


def _judge(
    job: NewJob, room: _Room | None, *, in_flight: Set[Key], seen: Mapping[Key, FirstAnswer]
) -> _Placed | Accepted | Exception:
    """The job with its place when it may be queued. A replay costs no room; a refused submission stores nothing."""
    for key in _key_of(job):
        if key in in_flight:
            return IdempotencyInFlight()
        if key in seen:
            return _again(seen[key]) if seen[key].body_hash == job.body_hash else IdempotencyMismatch()
    return TenantUnknown() if room is None else room.take(job)


def _again(first: FirstAnswer) -> Accepted:
    return Accepted(
        id=first.job,
        position=first.position,
        queued_at=first.queued_at,
        replayed=True,
        assignment=first.assignment,
    )


async def _insert(conn: Conn, placed: Sequence[_Placed]) -> Mapping[JobId, Accepted]:
    if not placed:
        return {}
    jobs = [one.job for one in placed]
    bases = [base_priority(job.priority) for job in jobs]
    wanted = [(job.tenant, job.requirement, base) for job, base in zip(jobs, bases, strict=True)]
    rows = await conn.fetch(
        SQL["insert_jobs"],
        [job.id for job in jobs],
        [job.tenant for job in jobs],
        [job.type for job in jobs],
        [job.priority for job in jobs],
        [job.payload for job in jobs],
        [msgspec.json.encode(sorted(job.requirement.capabilities)).decode() for job in jobs],
        [job.requirement.tool for job in jobs],
        [job.requirement.preferred_region for job in jobs],
        [job.timeout_seconds for job in jobs],
        [job.auth_token_hash for job in jobs],
        [job.retry_of for job in jobs],
        [job.traceparent for job in jobs],
        await lanes.intern(conn, wanted),
        bases,
    )
    queued_at = {row["id"]: row["queued_at"] for row in rows}
    queued = {
        one.job.id: Accepted(id=one.job.id, position=one.position, queued_at=queued_at[one.job.id]) for one in placed
    }
    await idempotency.remember(conn, {key: _first(job, queued[job.id]) for job in jobs for key in _key_of(job)})
    return queued


def _first(job: NewJob, accepted: Accepted) -> FirstAnswer:
    return FirstAnswer(body_hash=job.body_hash, job=job.id, position=accepted.position, queued_at=accepted.queued_at)
