"""Bans that the limiter sets, kept in Postgres so that they survive a flush of Redis."""

from collections import deque
from contextlib import suppress
from datetime import timedelta

from platform_core.domain.errors import Unavailable
from platform_server.store import bans
from platform_server.store.bans import Network
from platform_server.store.connection import Pool, acquire


class NewBans:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: deque[tuple[Network, timedelta]] = deque()

    async def add(self, network: Network, duration: timedelta) -> None:
        """What the limiter calls: the ban is written down before the answer. With Postgres away, a little later."""
        self._waiting.append((network, duration))
        with suppress(Unavailable):
            await self.keep()

    async def keep(self) -> int:
        """A step: write them down. One that could not be written stays for the next time."""
        while self._waiting:
            network, duration = self._waiting.popleft()
            try:
                async with acquire(self._pool) as conn:
                    await bans.ban(conn, network, duration=duration)
            except Unavailable:
                self._waiting.append((network, duration))
                raise
        return 0
