"""One claim at a time in the cell: two round trips until its jobs are known, and the lock is let go after that."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial

from platform_server.store import claims
from platform_server.store.claim_batch import TokenHash
from platform_server.store.claims import SQL, Claimed, Offer
from platform_server.store.connection import Conn, Pool, acquire, retry_deadlock

# The pool's session holds the cell's lock between two statements. One that is paused there is ended by Postgres.
PAUSED_AFTER = timedelta(seconds=10)


class Claiming:
    """``token_hash``: the SHA-256 of an attempt's token. ``region_patience``: how long jobs keep to their region.

    The lock is the session's, not a transaction's: what a claim decides is written by one statement, and what the
    ranking notes of tenants that begin or cease to wait is right without it. So nobody waits for a BEGIN or a COMMIT,
    and the lock goes while the jobs are on their way.
    """

    def __init__(self, pool: Pool, *, token_hash: TokenHash, region_patience: timedelta) -> None:
        self._pool = pool
        self._token_hash = token_hash
        self._region_patience = region_patience
        self._slots: Mapping[int, int] | None = None
        self._running: set[asyncio.Task[None]] = set()

    async def sum_slots(self) -> int:
        """A step: S_g of each profile. It changes by the heartbeat, and its sum costs more than the rest of a claim.

        Taken every second, it also shows that the pool's session is not a paused one. Returns 0.
        """
        async with acquire(self._pool) as conn:
            self._slots = await claims.slots(conn)
        return 0

    async def claim(self, offers: Sequence[Offer]) -> Claimed:
        """Hand out queued jobs to the offers, by the rule; an agent may be given fewer or none.

        Raises Unavailable when Postgres is away or the claim before this one does not end.
        """
        claimed: asyncio.Future[Claimed] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(self._run(offers, claimed))
        self._running.add(running)
        running.add_done_callback(partial(self._done, claimed))
        try:
            return await claimed
        except asyncio.CancelledError:
            running.cancel()
            raise

    async def _run(self, offers: Sequence[Offer], claimed: "asyncio.Future[Claimed]") -> None:
        if self._slots is None:
            await self.sum_slots()
        async with acquire(self._pool) as conn:
            try:
                told = await retry_deadlock(partial(self._claim, conn, offers))
                if not claimed.done():
                    claimed.set_result(told)
            finally:
                await _unlock(conn)

    async def _claim(self, conn: Conn, offers: Sequence[Offer]) -> Claimed:
        return await claims.claim_at(
            conn,
            offers,
            slots=self._slots or {},
            token_hash=self._token_hash,
            patience=self._region_patience,
            begin=SQL["lock_and_begin"],
        )

    def _done(self, claimed: "asyncio.Future[Claimed]", running: "asyncio.Task[None]") -> None:
        self._running.discard(running)
        trouble = None if running.cancelled() else running.exception()
        # After the claim it can only be the unlocking that failed, and that ended the session and its lock.
        if trouble is not None and not claimed.done():
            claimed.set_exception(trouble)


async def _unlock(conn: Conn) -> None:
    """A session that cannot be asked to let the lock go is ended."""
    try:
        await conn.execute(SQL["unlock"])
    except BaseException:
        conn.terminate()
        raise
