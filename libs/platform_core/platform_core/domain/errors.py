"""What can go wrong, as the domain says it. No HTTP here: `kit.problems` has the one table that maps class to status.

DomainError
├─ Invalid                    the input is wrong; names every bad field
├─ Unauthorised               who are you?
│  ├─ Unauthenticated         missing credentials or a bad JWT
│  ├─ KeyInvalid              an agent's key: malformed, unknown, expired
│  └─ TokenInvalid            a bootstrap token or a job token: malformed, unknown, expired, used up, revoked
├─ Forbidden                  you may not
│  ├─ WrongRole · SystemTenantForbidden · TenantUnknown · TenantSuspended
│  └─ AgentDisabled · AgentTypeMismatch · TokenConstraint · JobNotYours
├─ NotFound
├─ Conflict                   not in this state
│  ├─ NameTaken · JobOver · JobNotRunning · JobCancelled
│  └─ AttemptSuperseded · IdempotencyInFlight
├─ Unprocessable
│  └─ IdempotencyMismatch
├─ TooLarge · UnsupportedMedia
├─ TooMany                    later; says when
│  └─ QueueFull · RateLimited · Banned
└─ Unavailable                a store is away; says when to come back
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar


class DomainError(Exception):
    """``code`` is for programs and never changes; the text is for people and leaks nothing."""

    code: ClassVar[str] = "error"
    default: ClassVar[str] = "The request could not be carried out."

    def __init__(self, detail: str | None = None) -> None:
        self.detail = detail or self.default
        super().__init__(self.detail)


@dataclass(frozen=True, slots=True)
class FieldError:
    field: str
    message: str


class Invalid(DomainError):
    """Wrong input, every bad field at once; what is wrong with the whole of it names no field."""

    code = "validation_failed"

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(f"{e.field}: {e.message}" if e.field else e.message for e in self.errors))


class Unauthorised(DomainError):
    """``reason`` is for events and metrics, from a closed set; it is never told to the caller."""

    code = "unauthorised"
    default = "The credentials are missing or not valid."

    def __init__(self, reason: str, detail: str | None = None) -> None:
        self.reason = reason
        super().__init__(detail)


class Unauthenticated(Unauthorised):
    code = "unauthenticated"


class KeyInvalid(Unauthorised):
    code = "key_invalid"


class TokenInvalid(Unauthorised):
    code = "token_invalid"


class Forbidden(DomainError):
    code = "forbidden"
    default = "This is not allowed."


class WrongRole(Forbidden):
    code = "wrong_role"
    default = "This needs another role."


class SystemTenantForbidden(Forbidden):
    code = "system_tenant"
    default = "The System Tenant cannot be used."


class TenantUnknown(Forbidden):
    code = "tenant_unknown"
    default = "The tenant is not known here."


class TenantSuspended(Forbidden):
    code = "tenant_suspended"
    default = "The tenant is suspended."


class AgentDisabled(Forbidden):
    code = "agent_disabled"
    default = "The agent is disabled."


class AgentTypeMismatch(Forbidden):
    code = "agent_type_mismatch"
    default = "This agent is not a platform agent."


class TokenConstraint(Forbidden):
    code = "token_constraint"
    default = "The agent does not meet the token's constraints."


class JobNotYours(Forbidden):
    code = "job_access_denied"
    default = "The job is held by another agent."


class NotFound(DomainError):
    code = "not_found"

    def __init__(self, what: str) -> None:
        super().__init__(f"There is no such {what}.")


class Conflict(DomainError):
    code = "conflict"


class NameTaken(Conflict):
    code = "name_taken"
    default = "An agent of this name is in use."


class JobOver(Conflict):
    code = "job_over"
    default = "The job is already over."


class JobNotRunning(Conflict):
    code = "job_not_running"
    default = "The job is not in a state that allows this."


class JobCancelled(Conflict):
    code = "job_cancelled"
    default = "The job was cancelled."


class AttemptSuperseded(Conflict):
    code = "attempt_superseded"
    default = "A later attempt has taken over this job."


class IdempotencyInFlight(Conflict):
    code = "idempotency_in_flight"
    default = "A request with this Idempotency-Key is still being carried out."


class Unprocessable(DomainError):
    code = "unprocessable"


class IdempotencyMismatch(Unprocessable):
    code = "idempotency_mismatch"
    default = "This Idempotency-Key was used with another body."


class TooLarge(DomainError):
    code = "payload_too_large"
    default = "The body is too large."


class UnsupportedMedia(DomainError):
    code = "unsupported_media_type"
    default = "The body must be JSON."


class TooMany(DomainError):
    code = "too_many"

    def __init__(self, detail: str | None = None, *, retry_after: timedelta) -> None:
        self.retry_after = retry_after
        super().__init__(detail)


class QueueFull(TooMany):
    """The plan's queue is full: ``size`` of ``limit`` jobs wait."""

    code = "queue_full"

    def __init__(self, *, limit: int, size: int, retry_after: timedelta = timedelta(seconds=10)) -> None:
        self.limit = limit
        self.size = size
        super().__init__(f"The queue is full: {size} of {limit} jobs wait.", retry_after=retry_after)


class RateLimited(TooMany):
    code = "rate_limited"
    default = "Too many requests."


class Banned(TooMany):
    code = "banned"
    default = "Too many failures to authenticate from this address."


class Unavailable(DomainError):
    code = "unavailable"
    default = "The service cannot reach its database at the moment."

    def __init__(self, detail: str | None = None, *, retry_after: timedelta) -> None:
        self.retry_after = retry_after
        super().__init__(detail)
