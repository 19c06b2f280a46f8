"""What all bodies share. Times are RFC 3339 in UTC with ``Z``; a request's unknown fields are refused or ignored."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class Answer(Struct, frozen=True, kw_only=True):
    """A body that we send."""


class StrictRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tenant's or an administrator's body: a typing error must not be dropped."""


class LenientRequest(Struct, frozen=True, kw_only=True):
    """An agent's body: agents and platform are upgraded at different times."""


class PageQuery(Struct, frozen=True, kw_only=True):
    """What every list takes; its filters are fields of a subclass. ``cursor`` is a list's own ``next_cursor``."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    cursor: str | None = None


class FieldProblem(Answer, frozen=True):
    field: str
    message: str


class Problem(Answer, frozen=True, omit_defaults=True):
    """RFC 9457, ``application/problem+json``."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: tuple[FieldProblem, ...] = ()
    limit: int | None = None
    size: int | None = None


class Health(Answer, frozen=True):
    status: Literal["ok"] = "ok"
