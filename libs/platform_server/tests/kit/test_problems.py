"""Errors as RFC 9457 problems."""

from collections.abc import AsyncIterator
from datetime import timedelta
from inspect import isclass
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from platform_core.domain import errors
from platform_core.domain.errors import DomainError
from platform_server.kit import problems
from platform_server.kit.asgi import Edge

SECONDS = timedelta(seconds=1.2)
STATUSES = {
    errors.Invalid: 400,
    errors.Unauthenticated: 401,
    errors.KeyInvalid: 401,
    errors.TokenInvalid: 401,
    errors.WrongRole: 403,
    errors.SystemTenantForbidden: 403,
    errors.TenantUnknown: 403,
    errors.TenantSuspended: 403,
    errors.AgentDisabled: 403,
    errors.AgentTypeMismatch: 403,
    errors.TokenConstraint: 403,
    errors.JobNotYours: 403,
    errors.NotFound: 404,
    errors.NameTaken: 409,
    errors.JobOver: 409,
    errors.JobNotRunning: 409,
    errors.JobCancelled: 409,
    errors.AttemptSuperseded: 409,
    errors.IdempotencyInFlight: 409,
    errors.IdempotencyMismatch: 422,
    errors.TooLarge: 413,
    errors.UnsupportedMedia: 415,
    errors.QueueFull: 429,
    errors.RateLimited: 429,
    errors.Banned: 429,
    errors.Unavailable: 503,
}
OF_THE_DOMAIN = {e for e in vars(errors).values() if isclass(e) and issubclass(e, DomainError)}
LEAVES = {e for e in OF_THE_DOMAIN if OF_THE_DOMAIN.isdisjoint(e.__subclasses__())}


def made(kind: type[DomainError]) -> DomainError:
    arguments: dict[type[DomainError], dict[str, Any]] = {
        errors.Invalid: {"errors": [errors.FieldError("name", "Required."), errors.FieldError("count", "Too many.")]},
        errors.Unauthorised: {"reason": "secret reason"},
        errors.NotFound: {"what": "job"},
        errors.QueueFull: {"limit": 10, "size": 10, "retry_after": SECONDS},
        errors.TooMany: {"retry_after": SECONDS},
        errors.Unavailable: {"retry_after": SECONDS},
    }
    return kind(**next((facts for of, facts in arguments.items() if issubclass(kind, of)), {}))


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    """Of an app that raises what the path names."""

    async def fail(request: Request) -> Response:
        name = request.path_params["name"]
        raise made(getattr(errors, name)) if name in vars(errors) else RuntimeError("SELECT secret FROM /etc/passwd")

    app = Starlette(
        routes=[Route("/{name}", fail)],
        middleware=[Middleware(Edge, trusted=())],
        exception_handlers=problems.HANDLERS,
    )
    async with AsyncClient(
        transport=ASGITransport(app, raise_app_exceptions=False), base_url="http://service"
    ) as opened:
        yield opened


def test_every_error_of_the_domain_has_a_status() -> None:
    assert set(STATUSES) == LEAVES


@pytest.mark.parametrize(("kind", "status"), STATUSES.items(), ids=lambda of: getattr(of, "__name__", of))
async def test_an_error_is_a_problem(client: AsyncClient, kind: type[DomainError], status: int) -> None:
    answer = await client.get(f"/{kind.__name__}", headers={"X-Request-ID": "abc-1"})
    body = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert (body["status"], body["code"], body["request_id"]) == (status, kind.code, "abc-1")
    assert {"type", "title", "status", "detail", "code", "request_id"} <= set(body)
    assert body["detail"]
    assert "secret" not in answer.text
    assert ("Retry-After" in answer.headers) is (status in (429, 503))
    assert ("WWW-Authenticate" in answer.headers) is (status == 401)


async def test_bad_input_names_every_field(client: AsyncClient) -> None:
    assert (await client.get("/Invalid")).json()["errors"] == [
        {"field": "name", "message": "Required."},
        {"field": "count", "message": "Too many."},
    ]


async def test_a_full_queue_tells_limit_and_size(client: AsyncClient) -> None:
    answer = await client.get("/QueueFull")
    assert (answer.json()["limit"], answer.json()["size"], answer.headers["Retry-After"]) == (10, 10, "2")


async def test_our_own_mistake_tells_nothing_but_the_request_id(client: AsyncClient) -> None:
    answer = await client.get("/bug")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.json()["request_id"]
    assert not any(leak in answer.text for leak in ("Traceback", "RuntimeError", "SELECT", "/etc", ".py"))


async def test_routing_answers_problems_too(client: AsyncClient) -> None:
    absent, other_method = await client.get("/a/b"), await client.post("/bug")
    assert [(a.status_code, a.json()["code"]) for a in (absent, other_method)] == [
        (404, "not_found"),
        (405, "method_not_allowed"),
    ]
    assert set(other_method.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert {a.headers["content-type"] for a in (absent, other_method)} == {"application/problem+json"}
