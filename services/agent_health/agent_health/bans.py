"""Bans that the limiter sets here, kept in Postgres so that they survive a flush of Redis."""

from collections import deque
from datetime import timedelta

from platform_server.store import bans
from platform_server.store.bans import Network
from platform_server.store.connection import Pool, acquire


class NewBans:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: deque[tuple[Network, timedelta]] = deque()

    def add(self, network: Network, duration: timedelta) -> None:
        """What the limiter calls."""
        self._waiting.append((network, duration))

    async def keep(self) -> int:
        """A step: write them down. One that could not be written stays for the next time."""
        while self._waiting:
            network, duration = self._waiting[0]
            async with acquire(self._pool) as conn:
                await bans.ban(conn, network, duration=duration)
            self._waiting.popleft()
        return 0
