"""Bodies about bootstrap tokens and the audit trail of registrations."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from msgspec import Meta

from platform_core.wire.agents import Name, Names, Reason
from platform_core.wire.base import Answer, StrictRequest

Description = Annotated[str, Meta(max_length=1000, pattern=r"^[^\x00]*$")]


class TokenStatus(StrEnum):
    """What people see of a token. ``expired`` is told by the clock, the others are stored."""

    ACTIVE = "active"
    EXPIRED = "expired"
    EXHAUSTED = "exhausted"
    REVOKED = "revoked"


class RegistrationOutcome(StrEnum):
    REGISTERED = "registered"
    TAKEN_OVER = "taken_over"
    REFUSED = "refused"


class CreateToken(StrictRequest, frozen=True, kw_only=True):
    description: Description | None = None
    expires_in_hours: Annotated[int, Meta(ge=1, le=168)] = 24
    max_uses: Annotated[int, Meta(ge=1, le=100)] = 1
    required_capabilities: Names = ()
    required_tools: Names = ()
    required_region: Name | None = None


class RevokeToken(StrictRequest, frozen=True, kw_only=True):
    reason: Reason | None = None


class Token(Answer, frozen=True, kw_only=True):
    """Everything but the secret, of which the platform keeps only a hash."""

    id: UUID
    token_prefix: str
    description: str | None
    status: TokenStatus
    max_uses: int
    current_uses: int
    required_capabilities: tuple[str, ...]
    required_tools: tuple[str, ...]
    required_region: str | None
    expires_at: datetime
    created_by: UUID | None
    revoked_by: UUID | None
    revoked_at: datetime | None
    revoke_reason: str | None
    created_at: datetime
    updated_at: datetime


class TokenAnswer(Answer, frozen=True, kw_only=True):
    token: Token


class TokenCreated(Answer, frozen=True, kw_only=True):
    """``raw_token`` is told this once and never again."""

    token: Token
    raw_token: str


class TokenList(Answer, frozen=True, kw_only=True):
    tokens: tuple[Token, ...]
    next_cursor: str | None


class Registration(Answer, frozen=True, kw_only=True):
    """One attempt to register with the token. ``reason`` says why it was refused."""

    id: UUID
    agent_id: UUID | None
    agent_name: str | None
    address: str | None
    outcome: RegistrationOutcome
    reason: str | None
    created_at: datetime


class RegistrationList(Answer, frozen=True, kw_only=True):
    registrations: tuple[Registration, ...]
    next_cursor: str | None
