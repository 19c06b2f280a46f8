"""Pure ASGI middleware: request id, client address, metrics and the log line of a request."""

import re
import time
from collections.abc import Sequence
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from platform_server.kit import logs, metrics
from platform_server.kit.client_address import Network, client_address

log = logs.logger("access")

_REQUEST_ID = re.compile(r"\A[A-Za-z0-9._-]{1,128}\Z")
_TRACEPARENT = re.compile(r"\A00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}\Z")


class Edge:
    """Everything a request gets on its way in, and one line and one observation on its way out."""

    def __init__(self, app: ASGIApp, *, trusted: Sequence[Network]) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.match(given) else str(uuid4())
        scope["request_id"] = request_id
        scope["client_address"] = client_address(scope, self._trusted)
        traced = _TRACEPARENT.match(headers.get("traceparent", ""))
        scope["traceparent"] = traced[0] if traced else None
        status = 500
        start = time.perf_counter()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        with logs.bound(request_id=request_id, **({"trace_id": traced[1]} if traced else {})):
            try:
                await self._app(scope, receive, sending)
            finally:
                _observe(scope, status, time.perf_counter() - start)


def _observe(scope: Scope, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "unmatched")
    metrics.REQUESTS.labels(scope["method"], route, str(status)).observe(seconds)
    log.debug("request", method=scope["method"], path=scope["path"], status=status, seconds=round(seconds, 4))
