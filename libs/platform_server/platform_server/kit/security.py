"""Security events: one structured log line each, and the two counters of the specification."""

from enum import StrEnum
from typing import Final

from platform_core.domain import errors
from platform_server.kit import logs, metrics

log = logs.logger("security")


class SecurityEvent(StrEnum):
    """The seven event types of the specification, "Security Monitoring"."""

    AUTH_FAILURE = "security.auth.failure"
    AGENT_NOT_FOUND = "security.agent.not_found"
    APIKEY_INVALID = "security.apikey.invalid"
    AGENT_INACTIVE = "security.agent.inactive"
    AGENT_TYPE_MISMATCH = "security.agent.type_mismatch"
    JOB_ACCESS_DENIED = "security.job.access_denied"
    TOKEN_INVALID = "security.token.invalid"  # noqa: S105 - an event's name


for _event in SecurityEvent:
    metrics.SECURITY_EVENTS.labels(_event.value)

# The first class that a refusal is an instance of decides.
_REFUSALS: Final[dict[type[errors.DomainError], SecurityEvent]] = {
    errors.AgentDisabled: SecurityEvent.AGENT_INACTIVE,
    errors.AgentTypeMismatch: SecurityEvent.AGENT_TYPE_MISMATCH,
    errors.JobNotYours: SecurityEvent.JOB_ACCESS_DENIED,
    errors.Forbidden: SecurityEvent.AUTH_FAILURE,
    errors.Banned: SecurityEvent.AUTH_FAILURE,
}
_NOT_AUTH: Final = frozenset({SecurityEvent.JOB_ACCESS_DENIED})


def emit(event: SecurityEvent, reason: str, **fields: object) -> None:
    """``reason`` comes from a closed set: it is the label of ``auth_failures_total``. Fields: address, agent, job …"""
    metrics.SECURITY_EVENTS.labels(event.value).inc()
    if event not in _NOT_AUTH:
        metrics.AUTH_FAILURES.labels(reason).inc()
    log.warning(event.value, event_type=event.value, reason=reason, **fields)


def event_of(error: errors.DomainError) -> tuple[SecurityEvent, str] | None:
    """Which event a refusal raises, and its reason; None when the refusal is no matter of security."""
    if isinstance(error, errors.Unauthorised):
        return _event_of_credentials(error), error.reason
    for kind, event in _REFUSALS.items():
        if isinstance(error, kind):
            return event, error.code
    return None


def _event_of_credentials(error: errors.Unauthorised) -> SecurityEvent:
    match error:
        case errors.KeyInvalid(reason="key_unknown"):
            return SecurityEvent.AGENT_NOT_FOUND
        case errors.KeyInvalid():
            return SecurityEvent.APIKEY_INVALID
        case errors.TokenInvalid() if error.reason.startswith("job_token"):
            return SecurityEvent.TOKEN_INVALID
        case _:
            return SecurityEvent.AUTH_FAILURE
