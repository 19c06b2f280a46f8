"""Leases: one replica of a worker acts at a time, by Postgres' clock."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from platform_core.domain.errors import Unavailable
from platform_server.store.connection import Conn, Pool, acquire, transaction
from platform_server.store.sql import load

SQL = load("leases")

Step = Callable[[], Awaitable[int]]


class NotActing(Exception):
    """Another replica acts, or our lease has run out: nothing was written."""


@dataclass(slots=True)
class Lease:
    """``holder`` names this process and no other; ``epoch`` is None while another one acts."""

    name: str
    holder: str
    lasts: timedelta
    epoch: int | None = None

    @property
    def held(self) -> bool:
        """As far as we know: what is written under it is checked again."""
        return self.epoch is not None

    async def renew(self, pool: Pool) -> bool:
        """Take the lease, or keep it; false while another replica has it. When it cannot be told, we do not act."""
        try:
            async with acquire(pool) as conn:
                self.epoch = await conn.fetchval(SQL["take_or_renew"], self.name, self.holder, self.lasts)
        except Exception:
            self.epoch = None
            raise
        return self.held

    async def give_up(self, pool: Pool) -> None:
        """Let the next replica act at once. With Postgres away the lease runs out by itself."""
        self.epoch = None
        with suppress(Unavailable):
            async with acquire(pool) as conn:
                await conn.execute(SQL["give_up_if_held"], self.name, self.holder)

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


def while_acting(step: Step) -> Step:
    """The step; while another replica acts it does nothing, and that is 0."""

    async def guarded() -> int:
        try:
            return await step()
        except NotActing:
            return 0

    return guarded
