"""Leases: one replica of a worker acts at a time, by Postgres' clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from platform_server.store.connection import Conn, Pool, transaction
from platform_server.store.sql import load

SQL = load("leases")


class NotActing(Exception):
    """Another replica acts, or our lease has run out: nothing was written."""


@dataclass(slots=True)
class Lease:
    """``holder`` names this process; ``epoch`` is None while another one acts."""

    name: str
    holder: str
    lasts: timedelta
    epoch: int | None = None

    async def renew(self, conn: Conn) -> bool:
        """Take the lease, or keep it; false while another replica has it."""
        self.epoch = await conn.fetchval(SQL["take_or_renew"], self.name, self.holder, self.lasts)
        return self.epoch is not None

    async def give_up(self, conn: Conn) -> None:
        """Let the next replica act at once."""
        self.epoch = None
        await conn.execute(SQL["give_up"], self.name, self.holder)

    @asynccontextmanager
    async def acting(self, pool: Pool) -> AsyncIterator[Conn]:
        """A transaction that holds the lease; a process that was paused past its end writes nothing.

        Raises NotActing.
        """
        async with transaction(pool) as conn:
            held = self.epoch is not None and await conn.fetchval(
                SQL["hold_if_current"], self.name, self.holder, self.epoch
            )
            if not held:
                raise NotActing
            yield conn
