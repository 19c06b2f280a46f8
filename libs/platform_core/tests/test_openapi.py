"""The OpenAPI document, and the operations that it is made from."""

from collections.abc import Iterator
from http import HTTPStatus

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from platform_core.wire import operations
from platform_core.wire.openapi import Credentials, Json, Operation, document, statuses_of
from platform_core.wire.operations import EVERYTHING

SPECIFIED = """
    GET    /api/v1/admin/platform-agents
    GET    /api/v1/admin/platform-agents/stats
    GET    /api/v1/admin/platform-agents/{id}
    POST   /api/v1/admin/platform-agents
    POST   /api/v1/admin/platform-agents/{id}/disable
    POST   /api/v1/admin/platform-agents/{id}/enable
    DELETE /api/v1/admin/platform-agents/{id}
    GET    /api/v1/admin/bootstrap-tokens
    POST   /api/v1/admin/bootstrap-tokens
    POST   /api/v1/admin/bootstrap-tokens/{id}/revoke
    GET    /api/v1/admin/platform-jobs/stats
    POST   /api/v1/platform-jobs
    GET    /api/v1/platform-jobs
    GET    /api/v1/platform-jobs/{id}
    POST   /api/v1/platform-jobs/{id}/cancel
    POST   /api/v1/platform-agents/register
    POST   /api/v1/platform-agent/heartbeat
    POST   /api/v1/platform-agent/poll
    POST   /api/v1/platform-agent/jobs/{id}/ack
    POST   /api/v1/platform-agent/jobs/{id}/progress
    POST   /api/v1/platform-agent/jobs/{id}/result
"""
ADDED = """
    GET    /api/v1/admin/bootstrap-tokens/{id}/registrations
    POST   /api/v1/admin/platform-agents/{id}/drain
    POST   /api/v1/admin/platform-agents/{id}/rotate-key
    GET    /api/v1/admin/tenants
    GET    /api/v1/admin/tenants/{id}
    PUT    /api/v1/admin/tenants/{id}
    DELETE /api/v1/admin/tenants/{id}
    GET    /api/v1/admin/banned-ips
    DELETE /api/v1/admin/banned-ips/{ip}
    POST   /api/v1/platform-jobs/{id}/retry
    GET    /api/v1/platform-agent/events
    POST   /api/v1/platform-agent/jobs/{id}/release
    GET    /api/v1/openapi.json
    GET    /api/docs
"""
PARTS = {
    "registration": operations.REGISTRATION,
    "job_intake": operations.JOB_INTAKE,
    "dispatcher": operations.DISPATCHER,
    "agent_health": operations.AGENT_HEALTH,
    "everything": EVERYTHING,
}
PUBLIC = {"register_agent", "openapi_document", "documentation"}


def lines(text: str) -> set[tuple[str, str]]:
    return {(method, path) for method, path in (line.split() for line in text.strip().splitlines())}


def name_of(operation: Operation) -> str:
    return operation.name


def found(value: object, key: str) -> Iterator[object]:
    """Every value under this key, however deep."""
    match value:
        case dict():
            for name, inner in value.items():
                yield from [inner] if name == key else found(inner, key)
        case list():
            for inner in value:
                yield from found(inner, key)


@pytest.fixture(scope="module")
def everything() -> Json:
    return document("Platform Agents", EVERYTHING)


def operation_in(made: Json, operation: Operation) -> Json:
    return msgspec.convert(made["paths"], dict[str, dict[str, Json]])[operation.path][operation.method.lower()]


def schemas_of(made: Json) -> dict[str, Json]:
    return msgspec.convert(msgspec.convert(made["components"], Json)["schemas"], dict[str, Json])


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS.keys())
def test_the_document_is_valid_openapi_3_1(part: tuple[Operation, ...]) -> None:
    made = document("Platform Agents", part)
    assert made["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(made).validate()


def test_the_documents_operations_are_those_of_the_api() -> None:
    assert {(op.method.value, op.path) for op in EVERYTHING} == lines(SPECIFIED) | lines(ADDED)


def test_operations_have_names_of_their_own() -> None:
    assert len({operation.name for operation in EVERYTHING}) == len(EVERYTHING)
    assert len({(operation.method, operation.path) for operation in EVERYTHING}) == len(EVERYTHING)


def test_every_reference_leads_somewhere(everything: Json) -> None:
    for reference in found(everything, "$ref"):
        target: object = everything
        for step in str(reference).removeprefix("#/").split("/"):
            target = msgspec.convert(target, Json)[step]


@pytest.mark.parametrize("operation", EVERYTHING, ids=name_of)
def test_only_registration_and_the_documentation_are_public(operation: Operation) -> None:
    assert (operation.needs is Credentials.NONE) == (operation.name in PUBLIC)


@pytest.mark.parametrize(
    ("prefix", "needs"),
    [
        ("/api/v1/admin/", Credentials.ADMINISTRATOR),
        ("/api/v1/platform-jobs", Credentials.TENANT),
        ("/api/v1/platform-agent/jobs/", Credentials.AGENT_AND_JOB),
        ("/api/v1/platform-agent/poll", Credentials.AGENT),
        ("/api/v1/platform-agent/heartbeat", Credentials.AGENT),
        ("/api/v1/platform-agent/events", Credentials.AGENT),
    ],
)
def test_a_paths_credentials(prefix: str, needs: Credentials) -> None:
    assert {op.needs for op in EVERYTHING if op.path.startswith(prefix)} == {needs}


@pytest.mark.parametrize("operation", EVERYTHING, ids=name_of)
def test_an_operation_shows_its_credentials(everything: Json, operation: Operation) -> None:
    shown = msgspec.convert(operation_in(everything, operation)["security"], list[Json])
    assert shown == ([{scheme: [] for scheme in operation.needs.value}] if operation.needs.value else [])


@pytest.mark.parametrize("operation", EVERYTHING, ids=name_of)
def test_every_refusal_is_a_problem(everything: Json, operation: Operation) -> None:
    answers = msgspec.convert(operation_in(everything, operation)["responses"], dict[str, Json])
    refusals = {status: answer for status, answer in answers.items() if status >= "400"}
    assert refusals.keys() == {str(int(status)) for status in statuses_of(operation)}
    for status, answer in refusals.items():
        assert answer == {"$ref": f"#/components/responses/{HTTPStatus(int(status)).name}"}


@pytest.mark.parametrize("operation", EVERYTHING, ids=name_of)
def test_a_delete_is_204_without_a_body_and_a_get_is_200(operation: Operation) -> None:
    if operation.method == "DELETE":
        assert operation.answers == {HTTPStatus.NO_CONTENT: None}
    if operation.method == "GET":
        assert operation.answers.keys() == {HTTPStatus.OK}


STATUSES = {
    "register_agent": {400, 401, 403, 409, 413, 415, 429, 503},
    "create_bootstrap_token": {400, 401, 403, 413, 415, 503},
    "submit_job": {400, 401, 403, 409, 413, 415, 422, 429, 503},
    "list_jobs": {400, 401, 403, 503},
    "get_job": {401, 403, 404, 503},
    "cancel_job": {401, 403, 404, 409, 503},
    "poll": {400, 401, 403, 413, 415, 429, 503},
    "acknowledge_job": {401, 403, 404, 409, 429, 503},
    "submit_result": {400, 401, 403, 404, 409, 413, 415, 429, 503},
    "heartbeat": {400, 401, 403, 413, 415, 429, 503},
}


@pytest.mark.parametrize("operation", [op for op in EVERYTHING if op.name in STATUSES], ids=name_of)
def test_the_refusals_of_an_operation(operation: Operation) -> None:
    assert {*map(int, statuses_of(operation))} == STATUSES[operation.name]


@pytest.mark.parametrize("status", ["TOO_MANY_REQUESTS", "SERVICE_UNAVAILABLE"])
def test_429_and_503_say_when_to_come_back(everything: Json, status: str) -> None:
    responses = msgspec.convert(msgspec.convert(everything["components"], Json)["responses"], dict[str, Json])
    assert "Retry-After" in msgspec.convert(responses[status]["headers"], Json)


@pytest.mark.parametrize(
    "name", ["SubmitJob", "CreateToken", "RevokeToken", "CreateAgent", "DisableAgent", "PutTenant"]
)
def test_a_tenants_and_an_administrators_unknown_fields_are_refused(everything: Json, name: str) -> None:
    assert schemas_of(everything)[name]["additionalProperties"] is False


@pytest.mark.parametrize("name", ["Register", "Poll", "Progress", "JobResult", "Heartbeat"])
def test_an_agents_unknown_fields_are_ignored(everything: Json, name: str) -> None:
    assert "additionalProperties" not in schemas_of(everything)[name]


def test_lists_take_a_limit_of_1_to_200_and_a_cursor(everything: Json) -> None:
    for operation in EVERYTHING:
        if operation.query is not None:
            parameters = msgspec.convert(operation_in(everything, operation)["parameters"], list[Json])
            by_name = {parameter["name"]: parameter["schema"] for parameter in parameters}
            assert by_name["limit"] == {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
            assert by_name["cursor"] == {"type": "string"}


def test_a_submission_may_carry_an_idempotency_key(everything: Json) -> None:
    named = [op.name for op in EVERYTHING if "Idempotency-Key" in found(operation_in(everything, op), "name")]
    assert named == ["submit_job", "retry_job"]


def test_descriptions_are_for_people(everything: Json) -> None:
    for text in found(everything, "description"):
        assert "``" not in str(text)
        assert "\n  " not in str(text)
