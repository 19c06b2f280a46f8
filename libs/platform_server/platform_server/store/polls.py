"""What the dispatcher reads and notes about polls."""

from collections.abc import Mapping
from dataclasses import dataclass

from platform_core.domain.errors import AgentDisabled
from platform_core.domain.ids import AgentId
from platform_core.domain.scheduling import Profile
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("polls")


@dataclass(frozen=True, slots=True)
class Registered:
    """What an agent may be given at most."""

    profile: Profile
    max_concurrent: int


async def registered(conn: Conn, agent: AgentId) -> Registered:
    """Raises AgentDisabled when the agent was deleted a moment ago."""
    row = await conn.fetchrow(SQL["registered"], agent)
    if row is None:
        raise AgentDisabled
    profile = Profile(frozenset(row["capabilities"]), frozenset(row["tools"]), row["region"])
    return Registered(profile, row["max_concurrent"])


async def note(conn: Conn, polls: Mapping[AgentId, int]) -> None:
    """These agents are there, and offer these profiles."""
    await conn.execute(SQL["note_polls"], list(polls), list(polls.values()))


async def any_queued(conn: Conn) -> bool:
    return bool(await conn.fetchval(SQL["any_queued"]))
