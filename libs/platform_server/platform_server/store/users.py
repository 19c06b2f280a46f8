"""The people who act: a row for each (issuer, subject) from their first write on."""

from platform_core.domain.ids import UserId
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("users")


async def ensure(conn: Conn, *, issuer: str, subject: str) -> UserId:
    """The person's id, made at the first call."""
    found: UserId | None = await conn.fetchval(SQL["find"], issuer, subject)
    if found is None:
        await conn.execute(SQL["insert_if_new"], issuer, subject)
        found = await conn.fetchval(SQL["find"], issuer, subject)
    assert found is not None
    return found
