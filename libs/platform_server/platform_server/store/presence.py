"""Presence: who is there, by Postgres' clock; and the brake for when too many fall silent at once."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from platform_core.domain.ids import AgentId, JobId
from platform_core.domain.jobs import JobStatus
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("presence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What an agent told of itself; percentages of its machine."""

    agent: AgentId
    cpu_percent: float | None = None
    memory_percent: float | None = None
    disk_percent: float | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class HeldJob:
    """A job that takes one of the agent's slots."""

    agent: AgentId
    job: JobId
    attempt: int
    status: JobStatus
    retry_count: int


@dataclass(frozen=True, slots=True)
class Silence:
    """How many of the agents that were there a moment ago are silent now."""

    silent: int
    watched: int


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


async def note_seen(conn: Conn, agents: Collection[AgentId]) -> None:
    """They are there: they said something, whatever it was."""
    await conn.execute(SQL["note_seen_if_old"], list(agents))


async def now(conn: Conn) -> datetime:
    """What time it is, by the clock that all deadlines go by."""
    told: datetime = await conn.fetchval(SQL["now"])
    return told


async def jobs_of(conn: Conn, agents: Sequence[AgentId]) -> list[HeldJob]:
    """What takes these agents' slots, cancelled jobs that are not confirmed among it."""
    rows = await conn.fetch(SQL["jobs_of_agents"], agents)
    return [
        HeldJob(row["agent"], row["id"], row["attempt"], JobStatus(row["status"]), row["retry_count"]) for row in rows
    ]


async def ended_at(conn: Conn, agent: AgentId, jobs: Sequence[JobId]) -> dict[JobId, JobStatus]:
    """Those of these jobs that were cancelled or completed in the agent's hands."""
    rows = await conn.fetch(SQL["jobs_ended_at_agent"], agent, jobs)
    return {JobId(row["id"]): JobStatus(row["status"]) for row in rows}


async def mark_stale_offline(conn: Conn, *, after: timedelta, limit: int) -> list[AgentId]:
    """Agents that were silent so long are offline; returns them."""
    return [AgentId(row["agent_id"]) for row in await conn.fetch(SQL["mark_stale_offline"], after, limit)]


async def mark_seen_online(conn: Conn, *, within: timedelta, limit: int) -> list[AgentId]:
    """Offline agents that were seen again are online; returns them."""
    return [AgentId(row["agent_id"]) for row in await conn.fetch(SQL["mark_seen_online"], within, limit)]


async def silence(conn: Conn, *, after: timedelta, within: timedelta) -> Silence:
    """``after`` so long without a sign an agent is silent; counted are those that became so ``within`` that time."""
    row = await conn.fetchrow(SQL["silence"], after, within)
    assert row is not None
    return Silence(row["silent"], row["watched"])


async def pull_brake(conn: Conn, *, lasts: timedelta) -> None:
    """Nothing is requeued for silence or a deadline, for so long at most. Nothing changes while it is on."""
    await conn.execute(SQL["pull_brake_if_off"], lasts)


async def release_brake(conn: Conn) -> None:
    await conn.execute(SQL["release_brake"])


async def brake_left(conn: Conn) -> timedelta | None:
    """How long the brake is still on; None when it is off."""
    left: timedelta | None = await conn.fetchval(SQL["brake_left"])
    return left
