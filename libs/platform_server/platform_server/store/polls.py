"""What the dispatcher reads and notes about polls."""

from collections.abc import Mapping

from platform_core.domain.ids import AgentId
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("polls")


async def note(conn: Conn, polls: Mapping[AgentId, int]) -> None:
    """These agents are there, and offer these profiles."""
    await conn.execute(SQL["note_polls"], list(polls), list(polls.values()))


async def any_queued(conn: Conn) -> bool:
    return bool(await conn.fetchval(SQL["any_queued"]))
