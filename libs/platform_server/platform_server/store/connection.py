"""Pools and transactions. Trouble on the way to Postgres is `Unavailable`; a deadlock's victim is tried once more."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from platform_core.domain.errors import Unavailable

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Conn: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"

Returned = TypeVar("Returned")

RETRY_AFTER = timedelta(seconds=2)

_TROUBLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.InterfaceError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.InsufficientResourcesError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    # A connection that Postgres ended a moment ago, the end of which has not come in yet.
    asyncpg.InternalClientError,
)

# A paused holder of a lock or an idle transaction must not stop the cell.
_SESSION = {
    "timezone": "UTC",
    "lock_timeout": "4s",
    "statement_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    # Every statement is short: to compile one, or to start workers for it, takes longer than to run it.
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


@asynccontextmanager
async def open_pool(dsn: str, *, size: int, name: str, paused_after: timedelta | None = None) -> AsyncIterator[Pool]:
    """A pool of at most ``size`` connections that opens them when they are first needed; closed at the end.

    ``paused_after``: Postgres ends a session that asks nothing for so long. None: never.
    """
    settings = {**_SESSION, "application_name": name}
    if paused_after is not None:
        settings["idle_session_timeout"] = f"{paused_after.total_seconds():.0f}s"
    pool = asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        timeout=5,
        command_timeout=6,
        reset=_reset,
        server_settings=settings,
    )
    async with pool:
        yield pool


async def _reset(conn: Conn) -> None:
    """Nobody changes a session's state, so there is nothing to reset but a transaction that was left open."""
    if conn.is_in_transaction():
        await conn.reset()


@contextmanager
def _as_unavailable() -> Iterator[None]:
    try:
        yield
    except _TROUBLE as trouble:
        raise Unavailable(retry_after=RETRY_AFTER) from trouble


@asynccontextmanager
async def acquire(pool: Pool) -> AsyncIterator[Conn]:
    """A connection, for statements that commit one by one. Raises Unavailable when Postgres can't be reached."""
    with _as_unavailable():
        async with pool.acquire(timeout=5) as conn:
            yield conn


@asynccontextmanager
async def transaction(pool: Pool) -> AsyncIterator[Conn]:
    """A connection inside one READ COMMITTED transaction. Raises Unavailable when Postgres can't be reached."""
    async with acquire(pool) as conn, conn.transaction():
        yield conn


async def retry_deadlock(work: Callable[[], Awaitable[Returned]]) -> Returned:
    """Run ``work``; once more if Postgres chose it as a deadlock's victim (SQLSTATE 40P01)."""
    try:
        return await work()
    except asyncpg.DeadlockDetectedError:
        return await work()


async def answers(pool: Pool) -> bool:
    """Does Postgres answer? Raises Unavailable when it can't be reached."""
    async with acquire(pool) as conn:
        return await conn.fetchval("SELECT true") is True
