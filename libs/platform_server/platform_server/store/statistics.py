"""What the workers count for people: agents, open jobs, bans."""

from collections import Counter
from dataclasses import dataclass

from platform_core.domain.agents import AdminState, AgentStatus, status_of
from platform_core.domain.ids import TenantId
from platform_core.domain.jobs import JobStatus
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("statistics")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agents:
    """Agents of one kind, status and region. ``slots`` is their room, ``running`` what is taken of it.

    An agent without a region counts under the empty name.
    """

    platform: bool
    status: AgentStatus
    region: str
    agents: int
    slots: int
    running: int


@dataclass(frozen=True, slots=True)
class OpenJobs:
    """Jobs in one state, and for how many seconds the oldest of them has been open."""

    jobs: int
    oldest_seconds: float


async def agents(conn: Conn) -> list[Agents]:
    rows = await conn.fetch(SQL["agents"])
    return [
        Agents(
            platform=row["platform"],
            status=status_of(AdminState(row["admin_state"]), online=row["online"]),
            region=row["region"],
            agents=row["agents"],
            slots=row["slots"],
            running=row["running"],
        )
        for row in rows
    ]


async def open_jobs(conn: Conn) -> dict[JobStatus, OpenJobs]:
    """States without a job are not there."""
    rows = await conn.fetch(SQL["open_jobs"])
    return {JobStatus(row["status"]): OpenJobs(row["jobs"], row["oldest_seconds"]) for row in rows}


async def open_jobs_of_tenants(conn: Conn) -> Counter[tuple[TenantId, JobStatus]]:
    rows = await conn.fetch(SQL["open_jobs_of_tenants"])
    return Counter({(TenantId(row["tenant_id"]), JobStatus(row["status"])): row["jobs"] for row in rows})


async def banned(conn: Conn) -> int:
    """How many addresses are banned at this moment."""
    return int(await conn.fetchval(SQL["banned"]))
