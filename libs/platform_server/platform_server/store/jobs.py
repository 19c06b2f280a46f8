"""Jobs as their tenants see them: submitted in batches, read, cancelled, counted."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from platform_core.domain.errors import (
    IdempotencyInFlight,
    IdempotencyMismatch,
    JobOver,
    NotFound,
    QueueFull,
    TenantUnknown,
)
from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.jobs import JobStatus, JobType, Priority
from platform_core.domain.priority import base_priority
from platform_core.domain.scheduling import Requirement
from platform_server.store import idempotency, lanes
from platform_server.store.connection import Conn
from platform_server.store.idempotency import Assignment, FirstAnswer, Key
from platform_server.store.sql import load

SQL = load("jobs")


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


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    attempt: int
    agent_id: AgentId | None
    assigned_at: datetime | None
    ended_at: datetime | None = None
    outcome: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A job with its attempts; ``payload`` and ``result`` are JSON texts."""

    id: JobId
    tenant: TenantId
    type: JobType
    priority: Priority
    status: JobStatus
    payload: str
    capabilities: tuple[str, ...]
    preferred_region: str | None
    timeout_seconds: int
    progress: int | None
    message: str | None
    result: str | None
    error: str | None
    agent: AgentId | None
    queue_priority: int
    attempt: int
    retry_count: int
    retry_of: JobId | None
    attempts: tuple[AttemptRecord, ...]
    created_at: datetime
    queued_at: datetime | None
    assigned_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """``agent`` still runs it, if there is one."""

    agent: AgentId | None
    attempt: int


@dataclass(frozen=True, slots=True)
class Filter:
    status: JobStatus | None = None
    type: JobType | None = None
    priority: Priority | None = None


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


async def find(conn: Conn, tenant: TenantId, job: JobId) -> Job:
    """Raises NotFound: another tenant's job is as absent as one that never was."""
    row = await conn.fetchrow(SQL["find"], tenant, job)
    if row is None:
        raise NotFound("job")
    return _job(row)


async def belongs_to_another(conn: Conn, tenant: TenantId, job: JobId) -> bool:
    return bool(await conn.fetchval(SQL["belongs_to_another"], job, tenant))


async def position(conn: Conn, tenant: TenantId, job: JobId) -> int:
    """1-based among the tenant's own queued jobs; 0 when it is no longer queued."""
    return (await positions(conn, tenant, [job])).get(job, 0)


async def positions(conn: Conn, tenant: TenantId, jobs: Sequence[JobId]) -> Mapping[JobId, int]:
    """Those of them that are queued, with their 1-based places among the tenant's own queued jobs."""
    return {row["id"]: row["position"] for row in await conn.fetch(SQL["positions"], [tenant], jobs)}


async def page(conn: Conn, tenant: TenantId, only: Filter, *, after: JobId | None, limit: int) -> list[Job]:
    """Newest first, from the job after ``after`` on."""
    rows = await conn.fetch(SQL["page"], tenant, only.status, only.type, only.priority, after, limit)
    return [_job(row) for row in rows]


async def cancel(conn: Conn, tenant: TenantId, job: JobId) -> Cancelled:
    """End the job in whatever open state it is. Raises NotFound, or JobOver."""
    row = await conn.fetchrow(SQL["cancel_if_open"], tenant, job)
    if row is None:
        await find(conn, tenant, job)
        raise JobOver
    return Cancelled(row["agent"] if row["slot_held"] else None, row["attempt"])


async def first_assignments(conn: Conn, asked: Sequence[JobId]) -> Mapping[JobId, Assignment]:
    """Who holds these jobs, where an agent does and it is the first that does."""
    rows = await conn.fetch(SQL["first_assignments"], asked)
    return {row["id"]: Assignment(row["platform_agent_id"], row["assigned_at"]) for row in rows}


async def statistics(conn: Conn) -> Mapping[str, Any]:
    """The queue in numbers; the names are those of the wire."""
    now = await conn.fetchrow(SQL["stats"])
    hour = await conn.fetchrow(SQL["stats_of_last_hour"])
    by_priority = {row["priority"]: row["queued"] for row in await conn.fetch(SQL["stats_by_priority"])}
    assert now is not None
    assert hour is not None
    return {
        "queued": now["queued"],
        "assigned": now["assigned"],
        "running": now["running"],
        "by_priority": {priority.value: by_priority.get(priority, 0) for priority in Priority},
        "by_tenant": [dict(row) for row in await conn.fetch(SQL["stats_by_tenant"])],
        "oldest_wait_seconds": now["oldest"],
        "wait_p50_seconds": hour["p50"],
        "wait_p95_seconds": hour["p95"],
        "wait_p99_seconds": hour["p99"],
        "done_per_minute": hour["done_per_minute"],
    }


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


def _job(row: Any) -> Job:
    return Job(
        id=row["id"],
        tenant=row["tenant_id"],
        type=JobType(row["type"]),
        priority=Priority(row["priority"]),
        status=JobStatus(row["status"]),
        payload=row["payload"],
        capabilities=tuple(row["capabilities"]),
        preferred_region=row["preferred_region"],
        timeout_seconds=row["timeout_seconds"],
        progress=row["progress"],
        message=row["message"],
        result=row["result"],
        error=row["error"],
        agent=row["platform_agent_id"],
        queue_priority=row["queue_priority"],
        attempt=row["attempt"],
        retry_count=row["retry_count"],
        retry_of=row["retry_of"],
        attempts=msgspec.json.decode(row["attempt_log"], type=tuple[AttemptRecord, ...]),
        created_at=row["created_at"],
        queued_at=row["queued_at"],
        assigned_at=row["assigned_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
    )
