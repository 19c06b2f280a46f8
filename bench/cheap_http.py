"""HTTP/1.1 for load generators: keep-alive, one request at a time a connection, answers with a Content-Length.

A full client takes as much of the machine as the system that it should measure; this one takes a tenth of it.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

# The gateway closes what was idle for five minutes, at the very moment perhaps at which it is used again.
_FRESH_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class ConnectionLost(Exception):
    """The other side closed before it answered."""


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.open = True
        self.used_at = 0.0
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._waiting: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes) -> asyncio.Future[Answer]:
        assert self._transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._waiting

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._received[:head_end]).lower()
        length = _content_length(head)
        if len(self._received) < head_end + 4 + length:
            return
        body = bytes(self._received[head_end + 4 : head_end + 4 + length])
        del self._received[: head_end + 4 + length]
        if b"\r\nconnection: close" in head:
            self.open = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(Answer(int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionLost())


class Client:
    """Opens a connection when all others are busy, and keeps it."""

    def __init__(self, base_url: str) -> None:
        parts = urlsplit(base_url)
        assert parts.hostname is not None
        self._host, self._port = parts.hostname, parts.port or 80
        self._idle: deque[_Connection] = deque()

    async def request(self, method: str, path: str, *, headers: dict[str, str], body: object = None) -> Answer:
        """Raises OSError or ConnectionLost."""
        content = msgspec.json.encode(body) if body is not None else b""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._host}:{self._port}", f"Content-Length: {len(content)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        request = "\r\n".join((*lines, "", "")).encode() + content
        connection = await self._connection()
        try:
            answer = await connection.send(request)
        except BaseException:
            connection.close()
            raise
        if connection.open:
            connection.used_at = time.monotonic()
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.open and time.monotonic() - connection.used_at < _FRESH_SECONDS:
                return connection
            connection.close()
        _, made = await asyncio.get_running_loop().create_connection(_Connection, self._host, self._port)
        return made


def _content_length(head: bytes) -> int:
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        return 0
    end = head.find(b"\r\n", at + 2)
    return int(head[at + 17 : end if end >= 0 else None])
