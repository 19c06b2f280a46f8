"""The archive: jobs that are over, out of the way of those that wait and run. Whoever reads ``jobs`` finds both."""

from datetime import UTC, datetime, timedelta
from typing import Final

from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("archive")

FRONT: Final = datetime(1970, 1, 1, tzinfo=UTC)

# A result may have 10 MB: a thousand of them could not be moved within a statement's time.
_BYTES: Final = 16 * 1_048_576


async def move_finished(conn: Conn, since: datetime, *, after: timedelta, limit: int) -> tuple[int, datetime]:
    """Archive jobs that ended so long ago, oldest first, from ``since`` on: how many, and where it goes on."""
    row = await conn.fetchrow(SQL["move_finished"], limit, after, since, _BYTES)
    assert row is not None
    return row["jobs"], row["until"] or since


async def delete_old(conn: Conn, *, after: timedelta, limit: int) -> int:
    """Delete archived jobs that ended so long ago; returns how many."""
    return len(await conn.fetch(SQL["delete_old"], limit, after))
