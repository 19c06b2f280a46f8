"""What agents and the platform say to each other. An agent's unknown fields are ignored; see docs/api.md, "Agent"."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from platform_core.domain.agents import AgentStatus
from platform_core.domain.jobs import JobStatus, JobType
from platform_core.wire.agents import Names, Version
from platform_core.wire.base import Answer, LenientRequest

Percent = Annotated[float, Meta(ge=0, le=100)]
Message = Annotated[str, Meta(max_length=1000)]


class Poll(LenientRequest, frozen=True, kw_only=True):
    """What it names narrows what is registered; absent or empty changes nothing. ``timeout`` in seconds."""

    capabilities: Names = ()
    tools: Names = ()
    timeout: Annotated[float, Meta(ge=0, le=60)] = 30
    max_jobs: Annotated[int, Meta(ge=1, le=100)] = 1


class PolledJob(Answer, frozen=True, kw_only=True, omit_defaults=True):
    """A job in the agent's hand. ``timeout`` in seconds from the ack."""

    id: UUID
    type: JobType
    tenant_id: UUID
    payload: msgspec.Raw
    auth_token: str
    timeout: int
    attempt: int
    traceparent: str | None = None


class PollAnswer(Answer, frozen=True, kw_only=True):
    jobs: tuple[PolledJob, ...] = ()


class AgentJob(Answer, frozen=True, kw_only=True):
    """A job as its agent sees it."""

    id: UUID
    tenant_id: UUID
    type: JobType
    status: JobStatus
    attempt: int
    progress: int | None
    timeout: int
    assigned_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None


class AgentJobAnswer(Answer, frozen=True, kw_only=True):
    job: AgentJob


class Progress(LenientRequest, frozen=True, kw_only=True):
    progress: Annotated[int, Meta(ge=0, le=100)]
    message: Message | None = None


class ProgressAnswer(Answer, frozen=True, kw_only=True):
    """``cancelled``: stop the scanner; a result will be refused."""

    status: JobStatus
    cancelled: bool


class JobResult(LenientRequest, frozen=True, kw_only=True):
    status: Literal["completed", "failed"]
    # Any JSON; msgspec cannot tell it from null in a union.
    result: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))
    error: Annotated[str, Meta(max_length=10_000)] | None = None


class Heartbeat(LenientRequest, frozen=True, kw_only=True):
    running_jobs: Annotated[tuple[UUID, ...], Meta(max_length=1000)] | None = None
    cpu_percent: Percent | None = None
    memory_percent: Percent | None = None
    disk_percent: Percent | None = None
    version: Version | None = None


class HeartbeatAnswer(Answer, frozen=True, kw_only=True):
    """``cancelled_jobs`` and ``lost_jobs``: stop these; the platform has ended or taken them."""

    status: AgentStatus
    server_time: datetime
    next_heartbeat_seconds: int
    cancelled_jobs: tuple[UUID, ...] = ()
    lost_jobs: tuple[UUID, ...] = ()


class EventKind(StrEnum):
    """The names of an agent's server-sent events."""

    CANCELLED = "cancelled"
    LOST = "lost"
    DRAIN = "drain"


class JobEventBody(Answer, frozen=True, kw_only=True):
    """The data of ``cancelled`` and ``lost``."""

    job_id: UUID
