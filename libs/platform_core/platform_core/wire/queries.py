"""What the lists may be asked for."""

from platform_core.domain.agents import AgentStatus
from platform_core.domain.jobs import JobStatus, JobType, Priority
from platform_core.wire.agents import Name
from platform_core.wire.base import PageQuery
from platform_core.wire.tokens import TokenStatus


class TokenQuery(PageQuery, frozen=True, kw_only=True):
    status: TokenStatus | None = None


class AgentQuery(PageQuery, frozen=True, kw_only=True):
    status: AgentStatus | None = None
    region: Name | None = None
    capability: Name | None = None


class JobQuery(PageQuery, frozen=True, kw_only=True):
    status: JobStatus | None = None
    type: JobType | None = None
    priority: Priority | None = None
