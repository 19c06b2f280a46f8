"""What goes over Redis. Every body has a version; readers ignore fields that they do not know."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from platform_core.domain.scheduling import Requirement


class JobQueued(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """On channel ``job_queue``: a lane has work for agents that meet this."""

    version: int = 1
    capabilities: tuple[str, ...] = ()
    tool: str | None = None
    preferred_region: str | None = None

    @classmethod
    def of(cls, requirement: Requirement) -> "JobQueued":
        return cls(
            capabilities=tuple(sorted(requirement.capabilities)),
            tool=requirement.tool,
            preferred_region=requirement.preferred_region,
        )

    @property
    def requirement(self) -> Requirement:
        return Requirement(frozenset(self.capabilities), self.tool, self.preferred_region)


class AssignedJob(Struct, frozen=True, array_like=True):
    """An agent holds the job, on its first attempt."""

    job_id: UUID
    agent_id: UUID
    assigned_at: datetime


class JobsAssigned(Struct, frozen=True, kw_only=True, array_like=True):
    """On channel ``job_assigned``: jobs whose submissions may be waiting to tell of it. Every job intake reads it."""

    version: int = 1
    jobs: tuple[AssignedJob, ...]


class ControlKind(StrEnum):
    DISABLE = "disable"
    ENABLE = "enable"
    DELETE = "delete"
    ROTATE_KEY = "rotate_key"
    CANCEL = "cancel"
    DRAIN = "drain"
    LOST = "lost"


class AgentControl(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """On channel ``agent_control``: something an agent, or whoever serves it, must know at once."""

    kind: ControlKind
    agent_id: UUID
    job_id: UUID | None = None
    version: int = 1


class JobEventKind(StrEnum):
    QUEUED = "queued"
    ASSIGNED = "assigned"
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REQUEUED = "requeued"
    EXPIRED = "expired"


class JobEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """On stream ``platform:jobs``."""

    kind: JobEventKind
    job_id: UUID
    tenant_id: UUID
    agent_id: UUID | None = None
    attempt: int = 0
    version: int = 1


class AgentEventKind(StrEnum):
    REGISTERED = "registered"
    ONLINE = "online"
    OFFLINE = "offline"
    DISABLED = "disabled"
    ENABLED = "enabled"
    DRAINING = "draining"
    DELETED = "deleted"


class AgentEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """On stream ``platform:agents``."""

    kind: AgentEventKind
    agent_id: UUID
    version: int = 1
