"""Agents, their keys, and what people see of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from math import inf
from uuid import UUID

import asyncpg

from platform_core.domain.agents import AdminState, AgentStatus, status_of
from platform_core.domain.errors import Conflict, NameTaken, NotFound
from platform_core.domain.ids import AgentId
from platform_core.domain.scheduling import Profile
from platform_server.store import claims
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("agents")


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose key it is, and what that agent may be given at most."""

    agent: AgentId
    admin_state: AdminState
    is_platform_agent: bool
    key_prefix: str
    profile: Profile
    max_concurrent: int
    # How long the key is still valid if nobody changes it.
    valid_seconds: float = inf


@dataclass(frozen=True, slots=True)
class Changes:
    """``seen``: a snapshot of Postgres, up to which they are known."""

    seen: str
    agents: Sequence[AgentId]


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What an agent is said to be, by itself or by an administrator."""

    name: str
    capabilities: Sequence[str]
    tools: Sequence[str]
    labels: Sequence[str]
    region: str | None
    max_concurrent: int
    version: str | None
    hostname: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key as it is stored. ``hash``: SHA-256 in hex."""

    hash: str
    prefix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """``running``: how many of its slots are held."""

    id: AgentId
    name: str
    admin_state: AdminState
    online: bool
    is_platform_agent: bool
    region: str | None
    capabilities: Sequence[str]
    tools: Sequence[str]
    labels: Sequence[str]
    max_concurrent: int
    running: int
    version: str | None
    hostname: str | None
    last_seen_at: datetime | None
    created_at: datetime

    @property
    def status(self) -> AgentStatus:
        return status_of(self.admin_state, online=self.online)


async def identity(conn: Conn, key_hash: str) -> Identity | None:
    """The agent that a live key belongs to. Notes the key's use, at most once in five minutes."""
    row = await conn.fetchrow(SQL["identity"], key_hash)
    if row is None:
        return None
    if row["last_use_is_old"]:
        await conn.execute(SQL["touch_key"], key_hash)
    return Identity(
        agent=AgentId(row["id"]),
        admin_state=AdminState(row["admin_state"]),
        is_platform_agent=row["is_platform_agent"],
        key_prefix=row["key_prefix"],
        profile=_profile(tuple(row["capabilities"]), tuple(row["tools"]), row["region"]),
        max_concurrent=row["max_concurrent"],
        valid_seconds=inf if row["valid_seconds"] is None else row["valid_seconds"],
    )


@lru_cache(maxsize=4096)
def _profile(capabilities: Sequence[str], tools: Sequence[str], region: str) -> Profile:
    """One object for all agents that are alike: whoever remembers thousands of them keeps few."""
    return Profile(frozenset(capabilities), frozenset(tools), region)


async def changes(conn: Conn, seen: str | None) -> Changes:
    """The agents whose credentials or description changed since ``seen``; None: from now on."""
    row = await conn.fetchrow(SQL["changes"], seen)
    assert row is not None
    return Changes(row["seen"], [AgentId(agent) for agent in row["agents"]])


async def insert_if_name_free(conn: Conn, agent: AgentId, described: Description, key: Key) -> bool:
    """Make a platform agent, unless a live one has the name."""
    d = described
    made = await conn.fetchval(
        SQL["insert_if_name_free"],
        agent, d.name, d.capabilities, d.tools, d.labels, d.region, d.max_concurrent, d.version, d.hostname,
    )  # fmt: skip
    if made is not None:
        await conn.execute(SQL["insert_presence"], agent)
        await conn.execute(SQL["insert_key"], key.hash, agent, key.prefix)
    return made is not None


async def take_over_if_offline(conn: Conn, described: Description, key: Key) -> AgentId:
    """Give the offline agent of that name to its new bearer: described anew, one new key, the old ones dead.

    Raises NameTaken when that agent is in any other state.
    """
    d = described
    row = await conn.fetchrow(SQL["lock_by_name"], d.name)
    if row is None or status_of(AdminState(row["admin_state"]), online=row["online"]) is not AgentStatus.OFFLINE:
        raise NameTaken
    agent = AgentId(row["id"])
    await conn.execute(
        SQL["describe_anew"],
        agent, d.capabilities, d.tools, d.labels, d.region, d.max_concurrent, d.version, d.hostname,
    )  # fmt: skip
    await conn.execute(SQL["delete_keys"], agent)
    await conn.execute(SQL["insert_key"], key.hash, agent, key.prefix)
    return agent


async def rotate_key(conn: Conn, agent: AgentId, key: Key, *, grace: timedelta) -> None:
    """Give it a new key; the one before lives on for ``grace``, any older one ends. Raises NotFound."""
    await _guarded(conn, "lock_live", agent)
    await conn.execute(SQL["delete_expiring_keys"], agent)
    await conn.execute(SQL["expire_keys"], agent, grace)
    await conn.execute(SQL["insert_key"], key.hash, agent, key.prefix)


async def disable(conn: Conn, agent: AgentId, *, reason: str | None) -> None:
    """Refuse its key and give it nothing more, not even by a claim under way. Raises NotFound."""
    await conn.execute(claims.SQL["lock"])
    await _guarded(conn, "disable_if_live", agent, reason)


async def enable(conn: Conn, agent: AgentId) -> None:
    """End a disablement or a drain. Raises NotFound."""
    await _guarded(conn, "enable_if_live", agent)


async def drain(conn: Conn, agent: AgentId) -> None:
    """Give it nothing more; what runs may finish. Raises NotFound, or Conflict when it is disabled."""
    if await conn.fetchval(SQL["drain_if_not_disabled"], agent) is None:
        await _guarded(conn, "lock_live", agent)
        raise Conflict("A disabled agent has nothing to drain.")


async def delete(conn: Conn, agent: AgentId) -> None:
    """Hide it for ever: its keys die, its name is free again, its row stays for the audit trail. Raises NotFound."""
    await conn.execute(claims.SQL["lock"])
    await _guarded(conn, "delete_if_live", agent)
    await conn.execute(SQL["delete_keys"], agent)


async def find(conn: Conn, agent: AgentId) -> Agent:
    """Raises NotFound, also for a deleted agent."""
    row = await conn.fetchrow(SQL["find"], agent)
    if row is None:
        raise NotFound("agent")
    return _agent(row)


async def page(
    conn: Conn,
    *,
    status: AgentStatus | None = None,
    region: str | None = None,
    capability: str | None = None,
    after: UUID | None = None,
    limit: int,
) -> list[Agent]:
    """Agents of that status, region and capability, newest first, from the one ``after`` on."""
    states = [[s for s in AdminState if status in (None, status_of(s, online=online))] for online in (True, False)]
    return [_agent(row) for row in await conn.fetch(SQL["page"], *states, region, capability, after, limit)]


async def held_jobs(conn: Conn, agent: AgentId) -> Sequence[Mapping[str, object]]:
    """The jobs that take its slots, newest first."""
    return [dict(row) for row in await conn.fetch(SQL["held_jobs"], agent)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """Agents alike in status and region; an empty region is none. ``slots`` is their max_concurrent, summed."""

    status: AgentStatus
    region: str
    agents: int
    slots: int
    running: int


async def totals(conn: Conn) -> list[Total]:
    return [
        Total(
            status=status_of(AdminState(row["admin_state"]), online=row["online"]),
            region=row["region"],
            agents=row["agents"],
            slots=row["slots"],
            running=row["running"],
        )
        for row in await conn.fetch(SQL["totals"])
    ]


async def _guarded(conn: Conn, statement: str, agent: AgentId, *arguments: object) -> None:
    if await conn.fetchval(SQL[statement], agent, *arguments) is None:
        raise NotFound("agent")


def _agent(row: asyncpg.Record) -> Agent:
    return Agent(**{**row, "admin_state": AdminState(row["admin_state"])})
