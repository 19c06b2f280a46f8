"""What all bodies share, and the examples of the specification."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from platform_core.wire import agents, jobs, protocol, tenants, tokens
from platform_core.wire.base import Answer, FieldProblem, Problem

CREATE_TOKEN = b"""{
    "description": "Production agents - US region",
    "expires_in_hours": 24,
    "max_uses": 10,
    "required_region": "us-east-1",
    "required_capabilities": ["nuclei", "nmap"]
}"""
REGISTER = b"""{
    "bootstrap_token": "abc123.0123456789abcdef",
    "name": "scanner-us-east-1-01",
    "capabilities": ["nuclei", "nmap", "subfinder"],
    "tools": ["nuclei", "nmap", "subfinder"],
    "region": "us-east-1",
    "max_concurrent": 10,
    "version": "1.0.0"
}"""
SUBMIT = b"""{
    "type": "scan",
    "priority": "normal",
    "payload": {"target": "example.com", "tool": "nuclei", "templates": ["cves", "exposures"]},
    "capabilities": ["nuclei"],
    "preferred_region": "us-east-1"
}"""
POLL = b'{"capabilities": ["nuclei", "nmap"], "tools": ["nuclei", "nmap"], "timeout": 30}'
PROGRESS = b'{"progress": 50, "message": "Scanning 50% complete"}'
RESULT = b'{"status": "completed", "result": {"findings": [], "summary": "Found 5 vulnerabilities"}}'


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (CREATE_TOKEN, tokens.CreateToken),
        (REGISTER, agents.Register),
        (SUBMIT, jobs.SubmitJob),
        (POLL, protocol.Poll),
        (PROGRESS, protocol.Progress),
        (RESULT, protocol.JobResult),
    ],
    ids=["create a token", "register", "submit", "poll", "progress", "result"],
)
def test_the_specifications_examples_are_taken_to_the_letter(body: bytes, kind: type[msgspec.Struct]) -> None:
    assert isinstance(msgspec.json.decode(body, type=kind), kind)


@pytest.mark.parametrize(
    "kind",
    [
        tokens.CreateToken,
        tokens.RevokeToken,
        agents.CreateAgent,
        agents.DisableAgent,
        tenants.PutTenant,
        jobs.SubmitJob,
    ],
)
def test_a_typing_error_of_a_tenant_or_an_administrator_is_not_dropped(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.forbid_unknown_fields


@pytest.mark.parametrize("kind", [protocol.Poll, protocol.Heartbeat])
def test_an_agent_may_say_more_than_we_know(kind: type[msgspec.Struct]) -> None:
    assert msgspec.json.decode(b'{"of_a_later_version": 1}', type=kind) == kind()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"expires_in_hours": 0}', tokens.CreateToken),
        (b'{"expires_in_hours": 169}', tokens.CreateToken),
        (b'{"max_uses": 0}', tokens.CreateToken),
        (b'{"max_uses": 101}', tokens.CreateToken),
        (b'{"type": "exploit", "payload": {}}', jobs.SubmitJob),
        (b'{"type": "collect", "payload": {}, "timeout": 0}', jobs.SubmitJob),
        (b'{"type": "collect", "payload": {}, "timeout": 7201}', jobs.SubmitJob),
        (b'{"type": "collect", "payload": {}, "priority": "urgent"}', jobs.SubmitJob),
        (b'{"timeout": 61}', protocol.Poll),
        (b'{"max_jobs": 0}', protocol.Poll),
        (b'{"max_jobs": 101}', protocol.Poll),
        (b'{"progress": 101}', protocol.Progress),
        (b'{"progress": -1}', protocol.Progress),
        (b'{"status": "cancelled"}', protocol.JobResult),
    ],
)
def test_what_lies_beyond_a_limit_is_refused(body: bytes, kind: type[msgspec.Struct]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=kind)


def test_a_poll_waits_30_seconds_for_one_job_unless_it_says_otherwise() -> None:
    asked = msgspec.json.decode(b"{}", type=protocol.Poll)
    assert (asked.timeout, asked.max_jobs) == (30, 1)


def test_times_are_rfc_3339_in_utc_with_z() -> None:
    class Told(Answer, frozen=True, kw_only=True):
        at: datetime

    assert msgspec.json.encode(Told(at=datetime(2026, 1, 24, 12, 30, tzinfo=UTC))) == b'{"at":"2026-01-24T12:30:00Z"}'
    assert b"Z" not in msgspec.json.encode(Told(at=datetime(2026, 1, 24, tzinfo=timezone(timedelta(hours=1)))))


def test_a_problem_says_only_what_there_is_to_say() -> None:
    problem = Problem(type="urn:x", title="Conflict", status=409, detail="Over.", code="job_over", request_id="r1")
    assert msgspec.json.decode(msgspec.json.encode(problem)) == {
        "type": "urn:x",
        "title": "Conflict",
        "status": 409,
        "detail": "Over.",
        "code": "job_over",
        "request_id": "r1",
    }
    wrong = msgspec.structs.replace(problem, errors=(FieldProblem(field="name", message="Required."),))
    assert b'"errors":[{"field":"name","message":"Required."}]' in msgspec.json.encode(wrong)
