"""The way out for a scanner: an HTTP proxy that resolves each host once, judges it, and connects there only."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final
from urllib.parse import urlsplit

from exploop_agent.network import Address, AddressRefused
from platform_core.domain.targets import canonical_host

# The host's addresses, each of them allowed. Raises AddressRefused.
Judge = Callable[[str], Awaitable[Sequence[Address]]]

_MAX_HEAD_BYTES: Final = 64 * 2**10
_HEAD_SECONDS: Final = 30.0
_CONNECT_SECONDS: Final = 15.0
_REQUEST_LINE: Final = re.compile(rb"([A-Z]{1,20}) (\S+) (HTTP/1\.[01])")
_OURS: Final = (b"proxy-", b"connection:", b"keep-alive:")


class _Unanswerable(Exception):
    """A status and a text, for what cannot be passed on."""

    def __init__(self, status: str, why: str) -> None:
        self.status = status
        super().__init__(why)


@asynccontextmanager
async def filtering_proxy(judge: Judge) -> AsyncIterator[str]:
    """The address of a proxy on this machine that is there for one job."""
    proxy = _Proxy(judge)
    # Made so, it is ours to close from the first moment at which we can be cancelled.
    listening = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(proxy.serve, sock=listening, limit=_MAX_HEAD_BYTES, start_serving=False)
    try:
        await server.start_serving()
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await proxy.aclose()


class _Proxy:
    """``serve`` answers one connection: a CONNECT, or one plain request."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._pinned: dict[str, asyncio.Task[Sequence[Address]]] = {}
        self._serving: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """End every connection."""
        tasks = [*self._serving, *self._pinned.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._answer(reader, writer))
        self._serving.add(task)
        try:
            await asyncio.wait([task])
        finally:
            self._serving.discard(task)
            task.cancel()
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            try:
                await self._pass_on(reader, writer)
            except _Unanswerable as refusal:
                body = f"{refusal}\n".encode()
                head = f"HTTP/1.1 {refusal.status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, *headers = await _head(reader)
        request = _REQUEST_LINE.fullmatch(line)
        if request is None:
            raise _Unanswerable("400 Bad Request", "not a request")
        method, target, version = request.groups()
        if method == b"CONNECT":
            there = await self._connect(*_authority(target.decode("latin-1"), default_port=None))
            first = b""
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            host, port, path = _absolute(target.decode("latin-1"))
            there = await self._connect(host, port)
            kept = [header for header in headers if not header.lower().startswith(_OURS)]
            first = b"\r\n".join((b" ".join((method, path, version)), *kept, b"Connection: close", b"", b""))
        await _relay((reader, writer), there, first=first)

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            addresses = await self._addresses(host)
        except AddressRefused as refused:
            raise _Unanswerable("403 Forbidden", str(refused)) from refused
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                return await asyncio.open_connection(str(addresses[0]), port)
        except (OSError, TimeoutError) as error:
            raise _Unanswerable("502 Bad Gateway", "the host does not answer") from error

    async def _addresses(self, host: str) -> Sequence[Address]:
        """Judged once; the answer holds for as long as this proxy does."""
        if host not in self._pinned:
            self._pinned[host] = asyncio.ensure_future(_judged(self._judge, host))
        return await asyncio.shield(self._pinned[host])


async def _judged(judge: Judge, host: str) -> Sequence[Address]:
    return await judge(host)


async def _head(reader: asyncio.StreamReader) -> list[bytes]:
    """The request line and the headers."""
    try:
        async with asyncio.timeout(_HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
    except (TimeoutError, asyncio.LimitOverrunError) as error:
        raise _Unanswerable("400 Bad Request", "the request's head is too long or too slow") from error
    return head.removesuffix(b"\r\n\r\n").split(b"\r\n")


def _absolute(target: str) -> tuple[str, int, bytes]:
    """Host, port and the path with its query, of an absolute http address."""
    try:
        parts = urlsplit(target)
    except ValueError as error:
        raise _Unanswerable("400 Bad Request", "not an address") from error
    if parts.scheme != "http" or parts.username is not None:
        raise _Unanswerable("400 Bad Request", "an absolute http address is expected")
    host, port = _authority(parts.netloc, default_port=80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return host, port, path.encode("latin-1")


def _authority(text: str, *, default_port: int | None) -> tuple[str, int]:
    """A host in its one spelling, and a port."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]@/]+)(?::([0-9]{1,5}))?", text)
    host = canonical_host(match[1]) if match else None
    port = int(match[2]) if match and match[2] else default_port
    if host is None or port is None or not 1 <= port <= 65_535:
        raise _Unanswerable("403 Forbidden", "not a host and a port")
    return host, port


async def _relay(
    here: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    there: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    *,
    first: bytes,
) -> None:
    """Both ways, until the far side has said everything."""
    there[1].write(first)
    sending = asyncio.ensure_future(_copy(here[0], there[1]))
    try:
        await _copy(there[0], here[1])
    finally:
        sending.cancel()
        there[1].close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await source.read(65_536):
            sink.write(chunk)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
