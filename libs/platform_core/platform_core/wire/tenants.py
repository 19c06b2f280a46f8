"""Bodies about tenants and banned addresses."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from platform_core.wire.base import Answer, StrictRequest


class TenantStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


class PlanName(StrEnum):
    FREE = "free"
    STARTER = "starter"
    PRO = "pro"
    ENTERPRISE = "enterprise"


class PutTenant(StrictRequest, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)")]
    plan: PlanName
    status: TenantStatus = TenantStatus.ACTIVE


class Limits(Answer, frozen=True, kw_only=True):
    """``submit_rate``: submissions a second, ``submit_burst``: how many at once."""

    max_concurrent_jobs: int
    max_queue_size: int
    submit_rate: int
    submit_burst: int


class Usage(Answer, frozen=True, kw_only=True):
    """``running``: jobs assigned or running, against max_concurrent_jobs; ``queued``: against max_queue_size."""

    running: int
    queued: int


class Tenant(Answer, frozen=True, kw_only=True):
    id: UUID
    name: str
    plan: PlanName
    status: TenantStatus
    limits: Limits
    usage: Usage
    created_at: datetime
    updated_at: datetime


class TenantAnswer(Answer, frozen=True, kw_only=True):
    tenant: Tenant


class TenantList(Answer, frozen=True, kw_only=True):
    tenants: tuple[Tenant, ...]
    next_cursor: str | None


class BannedIp(Answer, frozen=True, kw_only=True):
    """``ip``: the address, or the first one of an IPv6 /64, which is banned as a whole."""

    ip: str
    banned_until: datetime
    created_at: datetime


class BannedIpList(Answer, frozen=True, kw_only=True):
    banned_ips: tuple[BannedIp, ...]
    next_cursor: str | None
