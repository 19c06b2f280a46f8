"""Bodies about agents: enrolment and administration."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from platform_core.domain.agents import AgentStatus
from platform_core.domain.jobs import JobStatus, JobType, Priority
from platform_core.wire.base import Answer, LenientRequest, StrictRequest

# `$` alone lets a last newline pass in Python; the look-ahead says "the very end" in Python and in JavaScript.
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,49}$(?!\n)")]
Names = Annotated[tuple[Name, ...], Meta(max_length=50)]
AgentName = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
Version = Annotated[str, Meta(max_length=50, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
Hostname = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$(?!\n)")]
Reason = Annotated[str, Meta(max_length=500, pattern=r"^[^\x00]*$")]
MaxConcurrent = Annotated[int, Meta(ge=1, le=100)]


class Register(LenientRequest, frozen=True, kw_only=True):
    """An agent asks to be enrolled. ``bootstrap_token`` is judged by the service: every bad one gets the same 401."""

    bootstrap_token: str
    name: AgentName
    capabilities: Names = ()
    tools: Names = ()
    labels: Names = ()
    region: Name | None = None
    max_concurrent: MaxConcurrent = 1
    version: Version | None = None
    hostname: Hostname | None = None


class CreateAgent(StrictRequest, frozen=True, kw_only=True):
    """An administrator makes an agent without a token."""

    name: AgentName
    capabilities: Names = ()
    tools: Names = ()
    labels: Names = ()
    region: Name | None = None
    max_concurrent: MaxConcurrent = 1
    version: Version | None = None
    hostname: Hostname | None = None


class DisableAgent(StrictRequest, frozen=True, kw_only=True):
    reason: Reason | None = None


class Agent(Answer, frozen=True, kw_only=True):
    """``running``: the slots that its jobs take."""

    id: UUID
    name: str
    status: AgentStatus
    is_platform_agent: bool
    region: str | None
    capabilities: tuple[str, ...]
    tools: tuple[str, ...]
    labels: tuple[str, ...]
    max_concurrent: int
    running: int
    version: str | None
    hostname: str | None
    last_seen_at: datetime | None
    created_at: datetime


class HeldJob(Answer, frozen=True, kw_only=True):
    """A job that takes one of the agent's slots; a cancelled one does so until the agent confirms."""

    id: UUID
    tenant_id: UUID
    type: JobType
    priority: Priority
    status: JobStatus
    attempt: int
    progress: int | None
    assigned_at: datetime | None
    started_at: datetime | None


class AgentAnswer(Answer, frozen=True, kw_only=True):
    agent: Agent


class AgentWithJobs(Answer, frozen=True, kw_only=True):
    agent: Agent
    jobs: tuple[HeldJob, ...]


class AgentWithKey(Answer, frozen=True, kw_only=True):
    """``api_key`` is told this once and never again."""

    agent: Agent
    api_key: str


class AgentList(Answer, frozen=True, kw_only=True):
    agents: tuple[Agent, ...]
    next_cursor: str | None


class AgentStats(Answer, frozen=True, kw_only=True):
    """``capacity``, ``running`` and ``free`` are slots of the online agents that may take jobs.

    An agent without a region counts under the empty name.
    """

    total: int
    by_status: Mapping[AgentStatus, int]
    by_region: Mapping[str, int]
    capacity: int
    running: int
    free: int
