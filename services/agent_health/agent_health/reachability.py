"""Can agents reach us at all? While the gateway or Postgres fails, an agent's silence says nothing about the agent."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from platform_server.kit import logs

log = logs.logger(__name__)

Check = Callable[[], Awaitable[bool]]

_PATIENCE: Final = timedelta(seconds=2)
# Looks further apart than so many intervals, and than all checks may take, mean that nobody looked.
_GAPS: Final = 3
_LEAST_GAP: Final = timedelta(seconds=10)


class Reachability:
    """Begins as just broken: what happened before this process was there, it cannot know.

    ``every``: how often it looks. When it did not for long, this process was paused, and heard no agent meanwhile.
    """

    def __init__(
        self, checks: Sequence[Check], *, every: timedelta, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._checks = checks
        self._longest_gap = max(every * _GAPS, _LEAST_GAP).total_seconds()
        self._clock = clock
        self._looked_at = self._broken_at = clock()

    @property
    def unbroken(self) -> timedelta:
        """For how long everything that we looked at has answered."""
        return timedelta(seconds=0 if self._paused else self._clock() - self._broken_at)

    async def probe(self) -> int:
        """A step: look once."""
        holds = [await _holds(check) for check in self._checks]
        if self._paused or not all(holds):
            self._broken_at = self._clock()
            log.warning("agents_cannot_reach_us")
        self._looked_at = self._clock()
        return 0

    @property
    def _paused(self) -> bool:
        return self._clock() - self._looked_at > self._longest_gap


async def _holds(check: Check) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE.total_seconds()):
            return await check()
    except Exception:
        return False


async def answers_ok(url: str) -> bool:
    """Does a GET of this plain HTTP address give 200? Raises OSError."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        path = parts.path or "/"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        status_line = await reader.readline()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    return status_line.split()[1:2] == [b"200"]
