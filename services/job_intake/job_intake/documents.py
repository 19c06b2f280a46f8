"""The merged OpenAPI document, and a page that shows it without any network."""

from functools import cache
from html import escape
from importlib.resources import files
from string import Template

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from platform_core.wire import openapi as generator
from platform_core.wire.openapi import Operation
from platform_core.wire.operations import EVERYTHING

TITLE = "Platform Agents"

_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"}


async def openapi(_: Request) -> Response:
    return Response(_document(), media_type="application/json")


async def page(_: Request) -> Response:
    return HTMLResponse(_page(), headers=_HEADERS)


@cache
def _document() -> bytes:
    return msgspec.json.encode(generator.document(TITLE, EVERYTHING))


@cache
def _page() -> str:
    """All calls by their tags: method, path, what they are for, what they need, what they answer."""
    tags = dict.fromkeys(operation.tag for operation in EVERYTHING)
    sections = "".join(_section(tag, [o for o in EVERYTHING if o.tag == tag]) for tag in tags)
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(title=escape(TITLE), sections=sections)


def _section(tag: str, operations: list[Operation]) -> str:
    rows = "".join(map(_row, operations))
    return f"<section><h2>{escape(tag)}</h2><table>{rows}</table></section>"


def _row(operation: Operation) -> str:
    needs = " + ".join(operation.needs.value) or "nothing"
    answers = ", ".join(str(int(status)) for status in (*operation.answers, *generator.statuses_of(operation)))
    return (
        f"<tr><th><code>{operation.method}</code></th><td><code>{escape(operation.path)}</code>"
        f"<p>{escape(operation.summary)}</p><small>needs {escape(needs)} · answers {answers}</small></td></tr>"
    )
