"""Errors as RFC 9457 problems: the one table that maps a class to a status. Nothing internal leaves by here."""

from http import HTTPStatus
from math import ceil
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from platform_core.domain import errors
from platform_core.wire.base import FieldProblem, Problem
from platform_server.kit import logs, security

log = logs.logger(__name__)

# The first class that an error is an instance of decides.
STATUS: Final[dict[type[errors.DomainError], HTTPStatus]] = {
    errors.Invalid: HTTPStatus.BAD_REQUEST,
    errors.Unauthorised: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedMedia: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.Unprocessable: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.TooMany: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}


def status_of(error: errors.DomainError) -> HTTPStatus:
    for kind, status in STATUS.items():
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR


async def domain_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.DomainError)
    if (event := security.event_of(error)) is not None:
        kind, reason = event
        security.emit(kind, reason, address=str(request.scope.get("client_address", "")), path=request.url.path)
    status = status_of(error)
    headers = {}
    if isinstance(error, errors.TooMany | errors.Unavailable):
        headers["Retry-After"] = str(max(1, ceil(error.retry_after.total_seconds())))
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    full = error if isinstance(error, errors.QueueFull) else None
    fields = error.errors if isinstance(error, errors.Invalid) else ()
    return problem(
        request,
        status,
        code=error.code,
        detail=error.detail,
        fields=tuple(FieldProblem(field=e.field, message=e.message) for e in fields),
        full=full,
        headers=headers,
    )


async def http_error(request: Request, error: Exception) -> Response:
    """What Starlette's routing refuses: 404 and 405."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    code = status.phrase.lower().replace(" ", "_")
    return problem(request, status, code=code, detail=status.description, headers=dict(error.headers or {}))


async def bug(request: Request, error: Exception) -> Response:
    """Ours. The log has the traceback; the caller has the request id to ask for it."""
    log.exception("unhandled_error", path=request.url.path, error=type(error).__name__)
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return problem(request, status, code="internal_error", detail="Something went wrong on our side.")


HANDLERS: Final[dict[type[Exception] | int, ExceptionHandler]] = {
    errors.DomainError: domain_error,
    HTTPException: http_error,
    Exception: bug,
}


def problem(
    request: Request,
    status: HTTPStatus,
    *,
    code: str,
    detail: str,
    fields: tuple[FieldProblem, ...] = (),
    full: errors.QueueFull | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    body = Problem(
        type=f"urn:platform-agents:problem:{code}",
        title=status.phrase,
        status=status,
        detail=detail,
        code=code,
        request_id=request.scope.get("request_id", ""),
        errors=fields,
        limit=full.limit if full else None,
        size=full.size if full else None,
    )
    return Response(msgspec.json.encode(body), status, headers=headers, media_type="application/problem+json")
