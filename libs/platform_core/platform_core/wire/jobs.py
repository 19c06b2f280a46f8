"""Bodies about jobs, as tenants and administrators see them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from platform_core.domain.jobs import JobStatus, JobType, Priority
from platform_core.wire.agents import Name, Names
from platform_core.wire.base import Answer, StrictRequest


class SubmitJob(StrictRequest, frozen=True, kw_only=True):
    """``payload`` is kept as it was sent; the service judges its ``tool`` and ``target``. ``timeout`` in seconds."""

    type: JobType
    payload: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]
    priority: Priority = Priority.NORMAL
    capabilities: Names = ()
    preferred_region: Name | None = None
    timeout: Annotated[int, Meta(ge=1, le=7200)] = 1800


class Attempt(Answer, frozen=True, kw_only=True):
    """How one hand-out went; ``outcome`` is missing while it lasts."""

    attempt: int
    agent_id: UUID | None
    assigned_at: datetime | None
    ended_at: datetime | None = None
    outcome: str | None = None
    reason: str | None = None


class Waiting(Answer, frozen=True, kw_only=True):
    """Why a queued job waits."""

    reason: str
    detail: str


class Job(Answer, frozen=True, kw_only=True):
    """``position``: the 1-based place among the tenant's own queued jobs in published order; 0 once it is assigned."""

    id: UUID
    tenant_id: UUID
    type: JobType
    priority: Priority
    status: JobStatus
    payload: msgspec.Raw
    capabilities: tuple[str, ...]
    preferred_region: str | None
    timeout: int
    progress: int | None
    message: str | None
    result: msgspec.Raw
    error: str | None
    platform_agent_id: UUID | None
    queue_priority: int
    attempt: int
    retry_count: int
    retry_of: UUID | None
    attempts: tuple[Attempt, ...]
    created_at: datetime
    queued_at: datetime | None
    assigned_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    position: int | None = None
    waiting: Waiting | None = None


class JobAnswer(Answer, frozen=True, kw_only=True):
    job: Job


class Jobs(Answer, frozen=True, kw_only=True):
    jobs: tuple[Job, ...]
    next_cursor: str | None


class Queue(Answer, frozen=True, kw_only=True):
    position: int


class Submitted(Answer, frozen=True, kw_only=True):
    """``status`` is ``assigned`` only if an agent holds the job as this is written. ``auth_token``: of attempt 1."""

    job: Job
    auth_token: str
    status: JobStatus
    queue: Queue


class TenantQueue(Answer, frozen=True, kw_only=True):
    tenant_id: UUID
    queued: int
    held: int


class QueueStats(Answer, frozen=True, kw_only=True):
    """Waits in seconds, of the hand-outs of the last hour."""

    queued: int
    assigned: int
    running: int
    by_priority: Mapping[str, int]
    by_tenant: tuple[TenantQueue, ...]
    oldest_wait_seconds: float
    wait_p50_seconds: float
    wait_p95_seconds: float
    wait_p99_seconds: float
    done_per_minute: float


class QueueStatsAnswer(Answer, frozen=True, kw_only=True):
    stats: QueueStats
