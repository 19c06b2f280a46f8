"""The seven security event types, and what raises them."""

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from platform_core.domain import errors
from platform_core.domain.errors import DomainError
from platform_server.kit import security
from platform_server.kit.security import SecurityEvent

RAISED: Mapping[str, Sequence[DomainError]] = {
    "security.auth.failure": [
        errors.Unauthenticated("key_missing"),
        errors.Unauthenticated("jwt_invalid"),
        errors.TokenInvalid("token_unknown"),
        errors.TokenConstraint(),
        errors.WrongRole(),
        errors.TenantUnknown(),
        errors.TenantSuspended(),
        errors.SystemTenantForbidden(),
        errors.Banned(retry_after=timedelta(1)),
    ],
    "security.agent.not_found": [errors.KeyInvalid("key_unknown")],
    "security.apikey.invalid": [errors.KeyInvalid("key_malformed"), errors.KeyInvalid("key_checksum")],
    "security.agent.inactive": [errors.AgentDisabled()],
    "security.agent.type_mismatch": [errors.AgentTypeMismatch()],
    "security.job.access_denied": [errors.JobNotYours()],
    "security.token.invalid": [
        errors.TokenInvalid("job_token_missing"),
        errors.TokenInvalid("job_token_forged"),
        errors.TokenInvalid("job_token_expired"),
    ],
}


def counted(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


def test_the_event_types_are_those_of_the_specification() -> None:
    assert {event.value for event in SecurityEvent} == set(RAISED)


@pytest.mark.parametrize(("event", "error"), [(event, error) for event, of in RAISED.items() for error in of], ids=str)
def test_a_refusal_raises(event: str, error: DomainError) -> None:
    told = security.event_of(error)
    assert told is not None
    assert told[0] == event


@pytest.mark.parametrize(
    "error",
    [
        errors.AttemptSuperseded(), errors.JobCancelled(), errors.JobOver(), errors.NotFound("job"), errors.Invalid([]),
        errors.QueueFull(limit=1, size=1), errors.RateLimited(retry_after=timedelta(1)), errors.NameTaken(),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_is_no_matter_of_security_raises_nothing(error: DomainError) -> None:
    assert security.event_of(error) is None


def test_an_event_is_one_structured_line_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    before = counted("security_events_total", event_type="security.apikey.invalid")
    failures = counted("auth_failures_total", reason="key_checksum")
    security.emit(SecurityEvent.APIKEY_INVALID, "key_checksum", address="203.0.113.7")
    (record,) = caplog.records
    assert (record.levelno, record.message) == (logging.WARNING, "security.apikey.invalid")
    assert vars(record)["fields"] == {
        "event_type": "security.apikey.invalid",
        "reason": "key_checksum",
        "address": "203.0.113.7",
    }
    assert counted("security_events_total", event_type="security.apikey.invalid") == before + 1
    assert counted("auth_failures_total", reason="key_checksum") == failures + 1


def test_a_denied_job_is_no_failure_to_authenticate() -> None:
    failures = counted("auth_failures_total", reason="job_access_denied")
    security.emit(SecurityEvent.JOB_ACCESS_DENIED, "job_access_denied")
    assert counted("auth_failures_total", reason="job_access_denied") == failures


def test_every_event_type_is_there_from_the_start() -> None:
    for event in SecurityEvent:
        assert REGISTRY.get_sample_value("security_events_total", {"event_type": event.value}) is not None
