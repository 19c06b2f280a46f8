"""Presence: who is there, by Postgres' clock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from platform_core.domain.agents import AdminState, AgentStatus, status_of
from platform_core.domain.ids import AgentId, JobId
from platform_core.domain.jobs import JobStatus
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("presence")


@dataclass(frozen=True, slots=True)
class Beat:
    """What an agent told of itself; percentages of its machine."""

    agent: AgentId
    cpu_percent: float | None
    memory_percent: float | None
    disk_percent: float | None
    version: str | None


@dataclass(frozen=True, slots=True)
class HeldJob:
    agent: AgentId
    job: JobId
    attempt: int
    status: JobStatus


@dataclass(frozen=True, slots=True)
class Count:
    """``platform``: is it a platform agent's?"""

    platform: bool
    status: AgentStatus
    agents: int
    slots: int


async def note_heartbeats(conn: Conn, beats: Sequence[Beat]) -> set[AgentId]:
    """They are there. Returns those that were offline until now."""
    latest = {beat.agent: beat for beat in beats}
    rows = await conn.fetch(
        SQL["note_heartbeats"],
        list(latest),
        [beat.cpu_percent for beat in latest.values()],
        [beat.memory_percent for beat in latest.values()],
        [beat.disk_percent for beat in latest.values()],
    )
    told = {beat.agent: beat.version for beat in latest.values() if beat.version is not None}
    if told:
        await conn.execute(SQL["note_versions"], list(told), list(told.values()))
    return {AgentId(row["agent_id"]) for row in rows if not row["was_online"]}


async def jobs_of(conn: Conn, agents: Sequence[AgentId]) -> list[HeldJob]:
    """What takes these agents' slots, cancelled jobs that are not confirmed among it."""
    rows = await conn.fetch(SQL["jobs_of_agents"], agents)
    return [HeldJob(row["agent"], row["id"], row["attempt"], JobStatus(row["status"])) for row in rows]


async def mark_stale_offline(conn: Conn, *, after: timedelta, limit: int) -> list[AgentId]:
    return [AgentId(row["agent_id"]) for row in await conn.fetch(SQL["mark_stale_offline"], after, limit)]


async def mark_seen_online(conn: Conn, *, within: timedelta, limit: int) -> list[AgentId]:
    return [AgentId(row["agent_id"]) for row in await conn.fetch(SQL["mark_seen_online"], within, limit)]


async def counts(conn: Conn) -> list[Count]:
    """Agents by kind and status."""
    rows = await conn.fetch(SQL["statuses"])
    return [Count(row["platform"], _status(row), row["agents"], row["slots"]) for row in rows]


async def banned(conn: Conn) -> int:
    return int(await conn.fetchval(SQL["banned"]))


def _status(row: Any) -> AgentStatus:
    return status_of(AdminState(row["admin_state"]), online=row["online"])
