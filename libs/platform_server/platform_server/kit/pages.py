"""Queries and lists: ``?limit=`` 1–200 and an opaque keyset ``?cursor=``; ``next_cursor`` is null at the end."""

import base64
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar, get_type_hints

import msgspec
from msgspec import Struct
from starlette.requests import Request, StateT

from platform_core.domain.errors import FieldError, Invalid
from platform_core.wire.base import PageQuery

__all__ = ["Page", "PageQuery", "after", "cut", "query"]

Item = TypeVar("Item")
Key = TypeVar("Key")


Query = TypeVar("Query", bound=Struct)


def query(request: Request[StateT], kind: type[Query]) -> Query:
    """The query's parameters as ``kind``. Raises Invalid that names every bad or unknown one."""
    given = dict(request.query_params)
    hints = get_type_hints(kind, include_extras=True)
    wrong = [FieldError(name, "Unknown parameter.") for name in given if name not in hints]
    values = {}
    for name in (name for name in given if name in hints):
        try:
            values[name] = msgspec.convert(given[name], hints[name], strict=False)
        except msgspec.ValidationError as error:
            wrong.append(FieldError(name, str(error)))
    if wrong:
        raise Invalid(wrong)
    return kind(**values)


def after(asked: PageQuery, kind: type[Key]) -> Key | None:
    """The key of the last item that the caller has seen, of the type that the list sorts by. Raises Invalid."""
    if asked.cursor is None:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(asked.cursor), type=kind)
    except (ValueError, msgspec.DecodeError) as error:
        raise Invalid([FieldError("cursor", "Not a cursor of this list.")]) from error


class Page(NamedTuple, Generic[Item]):
    items: Sequence[Item]
    next_cursor: str | None


def cut(found: Sequence[Item], asked: PageQuery, key: Callable[[Item], object]) -> Page[Item]:
    """A page of what was looked up with one item more than the limit: the surplus says that there is a next one."""
    items = found[: asked.limit]
    if len(found) <= asked.limit:
        return Page(items, None)
    return Page(items, base64.urlsafe_b64encode(msgspec.json.encode(key(items[-1]))).decode())
