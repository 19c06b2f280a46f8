"""Jobs as their tenants see them: read, cancelled, counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from platform_core.domain.errors import (
    JobOver,
    NotFound,
)
from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.jobs import JobStatus, JobType, Priority
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("jobs")


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
    completed = only.status in (None, JobStatus.COMPLETED)
    statement = SQL["page" if completed else "page_of_uncompleted"]
    rows = await conn.fetch(statement, tenant, only.status, only.type, only.priority, after, limit)
    return [_job(row) for row in rows]


async def cancel(conn: Conn, tenant: TenantId, job: JobId) -> Cancelled:
    """End the job in whatever open state it is. Raises NotFound, or JobOver."""
    row = await conn.fetchrow(SQL["cancel_if_open"], tenant, job)
    if row is None:
        await find(conn, tenant, job)
        raise JobOver
    return Cancelled(row["agent"] if row["slot_held"] else None, row["attempt"])


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
