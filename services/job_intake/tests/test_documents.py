"""The OpenAPI document, its page, and the page for people in docs."""

import re
from http import HTTPStatus
from pathlib import Path

import msgspec
from httpx import AsyncClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from platform_core.domain import errors
from platform_core.domain.jobs import JobStatus
from platform_core.domain.plans import PLANS
from platform_core.domain.scanners import SCANNERS
from platform_core.wire.operations import EVERYTHING
from platform_server.kit import problems

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")


async def test_the_document_is_valid_openapi_3_1_and_has_every_operation(http: AsyncClient) -> None:
    answer = await http.get("/api/v1/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert told == {(str(operation.method), operation.path) for operation in EVERYTHING}


async def test_the_page_shows_every_operation_and_needs_no_network(http: AsyncClient) -> None:
    answer = await http.get("/api/docs")
    assert answer.headers["content-type"].startswith("text/html")
    for operation in EVERYTHING:
        assert f"<code>{operation.path}</code>" in answer.text
    assert re.findall(r"(?:src|href)=\"([^\"]*)\"", answer.text) == ["/api/v1/openapi.json"]
    assert not re.search(r"https?:|//|<script|@import|url\(", answer.text.replace("/api/v1/openapi.json", ""))
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy


def test_the_page_for_people_names_every_operation_and_no_other() -> None:
    named = re.findall(r"^\| `(GET|POST|PUT|DELETE) (/[^`?]*)` \|", PAGE, re.MULTILINE)
    assert sorted(named) == sorted({(str(operation.method), operation.path) for operation in EVERYTHING})


def test_the_page_for_people_says_of_every_error_what_to_do() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \| [^|]{10,} \|$", PAGE, re.MULTILINE))
    ours = {error.code: str(int(problems.status_of(error.__new__(error)))) for error in raised()}
    by_routing = {code_of(status): str(int(status)) for status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)}
    by_the_gateway = {"timeout": "504", "bad_request": "400"}
    assert rows == {**ours, **by_routing, **by_the_gateway, "internal_error": "500"}


def raised() -> list[type[errors.DomainError]]:
    """The kinds that are raised: those that have no kinds of their own."""
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DomainError)]
    return [kind for kind in kinds if not any(other is not kind and issubclass(other, kind) for other in kinds)]


def code_of(status: HTTPStatus) -> str:
    return status.phrase.lower().replace(" ", "_")


def test_the_page_for_people_has_the_plans_the_scanners_and_the_states() -> None:
    for plan in PLANS.values():
        assert f"| {plan.name} | {plan.max_concurrent_jobs} | {plan.max_queue_size} |" in PAGE
    (scanners,) = re.findall(r"one of (`[a-z`, -]+`)", PAGE)
    assert set(re.findall(r"`([a-z-]+)`", scanners)) == SCANNERS
    for status in JobStatus:
        assert f"| `{status}` |" in PAGE


def test_the_examples_of_the_page_are_json() -> None:
    examples = re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert len(examples) >= 10
    for example in examples:
        msgspec.json.decode(example.encode())
