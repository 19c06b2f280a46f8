"""Requests as they come from the wire, without a service behind them."""

from collections.abc import Callable, Mapping

import pytest
from starlette.requests import Request
from starlette.types import Message

MakeRequest = Callable[..., Request]


@pytest.fixture
def request_of() -> MakeRequest:
    """A request with such headers, query and body; the body comes in the chunks that are given."""

    def made(*chunks: bytes, headers: Mapping[str, str] | None = None, query: str = "") -> Request:
        left = list(chunks)

        async def receive() -> Message:
            body = left.pop(0) if left else b""
            return {"type": "http.request", "body": body, "more_body": bool(left)}

        raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        scope = {"type": "http", "method": "POST", "path": "/", "headers": raw, "query_string": query.encode()}
        return Request(scope, receive)

    return made
