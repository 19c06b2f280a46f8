"""Jobs as their tenants see them: submitted in batches, read, cancelled, counted."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from platform_core.domain.errors import IdempotencyMismatch, JobOver, NotFound, QueueFull, TenantUnknown
from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.jobs import JobStatus, JobType, Priority
from platform_core.domain.priority import base_priority
from platform_core.domain.scheduling import Requirement
from platform_server.store import lanes
from platform_server.store.connection import Conn
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


@dataclass(frozen=True, slots=True)
class Accepted:
    """``id`` is another than that of the submission when its key was seen before: ``replayed``."""

    id: JobId
    position: int
    replayed: bool


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
    """Queue them, in a transaction of the caller's. One result or error an item: QueueFull, IdempotencyMismatch.

    The limit is exact with any number of callers: submissions of one tenant stand in line at its row, and what is
    counted after that sees all that were committed before.
    """
    tenants = sorted({job.tenant for job in asked})
    await _lock(conn, tenants)
    room = {row["id"]: (row["size_limit"], row["size"]) for row in await conn.fetch(SQL["room"], tenants)}
    seen = await _seen_before(conn, asked)
    results: list[Accepted | Exception] = []
    accepted: dict[JobId, NewJob] = {}
    taken: Counter[TenantId] = Counter()
    for job in asked:
        result = _judge(job, room.get(job.tenant), taken[job.tenant], seen)
        if isinstance(result, Accepted) and not result.replayed:
            taken[job.tenant] += 1
            accepted[job.id] = job
            if job.key is not None:
                seen[job.tenant, job.key] = (job.body_hash, Accepted(job.id, 0, replayed=True))
        results.append(result)
    positions = await _insert(conn, list(accepted.values()))
    return [_placed(result, positions) for result in results]


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
    rows = await conn.fetch(SQL["positions"], [tenant], [job])
    return rows[0]["position"] if rows else 0


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


async def is_assigned(conn: Conn, job: JobId) -> bool:
    return bool(await conn.fetchval(SQL["is_assigned"], job))


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


Seen = dict[tuple[TenantId, str], tuple[str, Accepted]]


async def _lock(conn: Conn, tenants: Sequence[TenantId]) -> None:
    locked = await conn.fetch(SQL["lock_queues"], tenants)
    if len(locked) < len(tenants):
        await conn.execute(SQL["open_queues"], tenants)
        await conn.fetch(SQL["lock_queues"], tenants)


async def _seen_before(conn: Conn, asked: Sequence[NewJob]) -> Seen:
    keyed = [(job.tenant, job.key) for job in asked if job.key is not None]
    if not keyed:
        return {}
    rows = await conn.fetch(SQL["find_idempotent"], [tenant for tenant, _ in keyed], [key for _, key in keyed])
    return {
        (row["tenant_id"], row["key"]): (row["body_hash"], Accepted(row["job_id"], row["position"], replayed=True))
        for row in rows
    }


def _judge(job: NewJob, room: tuple[int, int] | None, taken: int, seen: Seen) -> Accepted | Exception:
    """A replay costs no room; a refused submission stores nothing."""
    if job.key is not None and (job.tenant, job.key) in seen:
        body_hash, first = seen[job.tenant, job.key]
        return first if body_hash == job.body_hash else IdempotencyMismatch()
    if room is None:
        return TenantUnknown()
    limit, size = room
    if size + taken >= limit:
        return QueueFull(limit=limit, size=size + taken)
    return Accepted(job.id, 0, replayed=False)


async def _insert(conn: Conn, jobs: Sequence[NewJob]) -> dict[JobId, int]:
    if not jobs:
        return {}
    bases = [base_priority(job.priority) for job in jobs]
    wanted = [(job.tenant, job.requirement, base) for job, base in zip(jobs, bases, strict=True)]
    await conn.execute(
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
    tenants = sorted({job.tenant for job in jobs})
    rows = await conn.fetch(SQL["positions"], tenants, [job.id for job in jobs])
    positions = {row["id"]: row["position"] for row in rows}
    await _remember(conn, [job for job in jobs if job.key is not None], positions)
    return positions


async def _remember(conn: Conn, keyed: Sequence[NewJob], positions: Mapping[JobId, int]) -> None:
    if keyed:
        await conn.execute(
            SQL["insert_idempotency_keys"],
            [job.tenant for job in keyed],
            [job.key for job in keyed],
            [job.body_hash for job in keyed],
            [job.id for job in keyed],
            [positions[job.id] for job in keyed],
        )


def _placed(result: Accepted | Exception, positions: Mapping[JobId, int]) -> Accepted | Exception:
    if isinstance(result, Accepted) and result.id in positions:
        return Accepted(result.id, positions[result.id], result.replayed)
    return result


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
