"""OpenAPI 3.1, made from operations declared as data and the types that the code itself decodes and encodes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPMethod, HTTPStatus
from inspect import cleandoc
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from platform_core.wire.base import PageQuery, Problem

Json = dict[str, object]

VERSION: Final = "1"
JSON: Final = "application/json"
PROBLEM_JSON: Final = "application/problem+json"
_COMPONENT: Final = "#/components/schemas/{name}"


class Credentials(Enum):
    """What a call must show; the value names the security schemes that it needs together."""

    NONE = ()
    ADMINISTRATOR = ("administrator",)
    TENANT = ("tenant",)
    AGENT = ("agentKey",)
    AGENT_AND_JOB = ("agentKey", "jobToken")


_SCHEMES: Final[Json] = {
    "administrator": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A JWT with role platform_admin.",
    },
    "tenant": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A JWT with role tenant and a tenant_id.",
    },
    "agentKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An agent's key, told once at its registration.",
    },
    "jobToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Job-Token",
        "description": "The auth_token of the job that the poll gave.",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call. ``answers`` maps each success to its body; ``refusals`` are those that its shape does not tell."""

    name: str
    method: HTTPMethod
    path: str
    summary: str
    tag: str
    needs: Credentials
    answers: Mapping[HTTPStatus, type | None]
    query: type[PageQuery] | None = None
    request: type[Struct] | None = None
    refusals: frozenset[HTTPStatus] = field(default=frozenset())
    media_type: str = JSON
    idempotency_key: bool = False


def statuses_of(operation: Operation) -> list[HTTPStatus]:
    """Every status of refusal that the operation can give, those of its shape and its own."""
    found = {HTTPStatus.SERVICE_UNAVAILABLE} | operation.refusals
    if operation.request is not None:
        found |= {
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        }
    if operation.query is not None:
        found.add(HTTPStatus.BAD_REQUEST)
    if operation.needs is not Credentials.NONE:
        found |= {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
    if operation.needs in {Credentials.AGENT, Credentials.AGENT_AND_JOB}:
        found.add(HTTPStatus.TOO_MANY_REQUESTS)
    if "{" in operation.path:
        found.add(HTTPStatus.NOT_FOUND)
    return sorted(found)


def document(title: str, operations: Sequence[Operation]) -> Json:
    """The OpenAPI document of these operations: JSON values only, ready to encode."""
    types = list(dict.fromkeys(_types_of(operations)))
    schemas, components = msgspec.json.schema_components(types, ref_template=_COMPONENT)
    schema_of = dict(zip(types, schemas, strict=True))
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schema_of)
    used = sorted({status for operation in operations for status in statuses_of(operation)})
    made = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": VERSION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for operation in operations)],
        "paths": paths,
        "components": {
            "schemas": {name: _described(schema) for name, schema in sorted(components.items())},
            "responses": {status.name: _refusal(status) for status in used},
            "headers": {
                "RequestId": {"schema": {"type": "string"}, "description": "Names this request in our logs."},
                "RetryAfter": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds to wait."},
            },
            "securitySchemes": _SCHEMES,
        },
    }
    return msgspec.json.decode(msgspec.json.encode(made), type=Json)


def _types_of(operations: Iterable[Operation]) -> Iterator[object]:
    yield Problem
    for operation in operations:
        yield from (body for body in (operation.request, *operation.answers.values()) if body is not None)
        yield from (parameter.type for parameter in _query_of(operation))


def _query_of(operation: Operation) -> tuple[msgspec.structs.FieldInfo, ...]:
    return fields(operation.query) if operation.query is not None else ()


def _operation(operation: Operation, schema_of: Mapping[object, Json]) -> Json:
    made: Json = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "security": [{scheme: [] for scheme in operation.needs.value}] if operation.needs.value else [],
        "parameters": list(_parameters(operation, schema_of)),
        "responses": {str(int(status)): _success(operation, status, schema_of) for status in operation.answers}
        | {str(int(s)): {"$ref": f"#/components/responses/{s.name}"} for s in statuses_of(operation)},
    }
    if operation.request is not None:
        required = any(info.required for info in fields(operation.request))
        made["requestBody"] = {"required": required, "content": {JSON: {"schema": schema_of[operation.request]}}}
    return made


def _parameters(operation: Operation, schema_of: Mapping[object, Json]) -> Iterator[Json]:
    for part in operation.path.split("/"):
        if part.startswith("{"):
            name = part.strip("{}")
            schema = {"type": "string"} | ({"format": "uuid"} if name == "id" else {})
            yield {"name": name, "in": "path", "required": True, "schema": schema}
    for info in _query_of(operation):
        yield {"name": info.encode_name, "in": "query", "schema": _without_null(schema_of[info.type], info.default)}
    if operation.idempotency_key:
        key: Json = {"type": "string", "minLength": 1, "maxLength": 255}
        yield {"name": "Idempotency-Key", "in": "header", "schema": key}


def _without_null(schema: Json, default: object) -> Json:
    """A parameter that may be left out is not null: a query cannot say null."""
    if default is None:
        options = schema["anyOf"]
        assert isinstance(options, list)
        [schema] = [option for option in options if option != {"type": "null"}]
        return schema
    return schema | {"default": default}


def _success(operation: Operation, status: HTTPStatus, schema_of: Mapping[object, Json]) -> Json:
    made: Json = {"description": status.phrase, "headers": {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}}
    body = operation.answers[status]
    if body is not None:
        made["content"] = {operation.media_type: {"schema": schema_of[body]}}
    elif operation.media_type != JSON:
        made["content"] = {operation.media_type: {"schema": {"type": "string"}}}
    return made


def _refusal(status: HTTPStatus) -> Json:
    headers: Json = {"X-Request-ID": {"$ref": "#/components/headers/RequestId"}}
    if status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        headers["Retry-After"] = {"$ref": "#/components/headers/RetryAfter"}
    content = {PROBLEM_JSON: {"schema": {"$ref": _COMPONENT.format(name=Problem.__name__)}}}
    return {"description": status.phrase, "headers": headers, "content": content}


def _described(schema: Mapping[str, object]) -> Json:
    text = schema.get("description")
    return dict(schema) | ({"description": cleandoc(text).replace("``", "`")} if isinstance(text, str) else {})
