"""Tenants: their plan, their standing, what they use."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from platform_core.domain.errors import NotFound, TenantSuspended, TenantUnknown
from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_server.store import claims
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("tenants")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What an active tenant may do. ``submit_rate``: submissions a second, ``submit_burst``: how many at once."""

    plan: str
    max_concurrent_jobs: int
    max_queue_size: int
    submit_rate: int
    submit_burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """``running``: jobs assigned or running."""

    id: TenantId
    name: str
    plan: str
    status: str
    max_concurrent_jobs: int
    max_queue_size: int
    submit_rate: int
    submit_burst: int
    running: int
    queued: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that was taken away; ``holder``: the agent that still runs it."""

    id: JobId
    holder: AgentId | None


async def standing(conn: Conn, tenant: TenantId) -> Standing:
    """The plan's limits of an active tenant. Raises TenantUnknown, TenantSuspended."""
    row = await conn.fetchrow(SQL["standing"], tenant)
    if row is None:
        raise TenantUnknown
    if row["status"] == "suspended":
        raise TenantSuspended
    return Standing(**{name: row[name] for name in Standing.__slots__})


async def find(conn: Conn, tenant: TenantId) -> Tenant:
    """Raises NotFound, also for the System Tenant."""
    row = await conn.fetchrow(SQL["find"], tenant)
    if row is None:
        raise NotFound("tenant")
    return Tenant(**row)


async def page(conn: Conn, *, after: tuple[datetime, UUID] | None = None, limit: int) -> list[Tenant]:
    """Tenants, newest first, from the one made ``after`` on."""
    made, tenant = after or (None, None)
    return [Tenant(**row) for row in await conn.fetch(SQL["page"], made, tenant, limit)]


async def put(conn: Conn, tenant: TenantId, *, name: str, plan: str, status: str) -> bool:
    """Make the tenant or change it; was it made?"""
    made: bool = await conn.fetchval(SQL["put"], tenant, name, plan, status)
    return made


async def lock(conn: Conn, tenant: TenantId) -> None:
    """Hold the tenant, so that no claim and no submission is under way. Raises NotFound."""
    await conn.execute(claims.SQL["lock"])
    if await conn.fetchval(SQL["lock"], tenant) is None:
        raise NotFound("tenant")


async def suspend(conn: Conn, tenant: TenantId) -> None:
    await conn.execute(SQL["suspend"], tenant)


async def delete_open_jobs(conn: Conn, tenant: TenantId) -> Sequence[Ended]:
    """Take away the jobs that wait or run."""
    return [Ended(row["id"], row["holder"]) for row in await conn.fetch(SQL["delete_open_jobs"], tenant)]


async def delete_some_history(conn: Conn, tenant: TenantId, *, limit: int) -> bool:
    """Remove at most ``limit`` jobs of each table and as many idempotency keys. Is there more?"""
    statements = ("delete_some_jobs", "delete_some_finished_jobs", "delete_some_idempotency_keys")
    deleted = [await conn.execute(SQL[statement], tenant, limit) for statement in statements]
    return set(deleted) != {"DELETE 0"}


async def delete(conn: Conn, tenant: TenantId) -> None:
    """Remove the tenant and the agents of its own; its jobs are gone before."""
    for statement in ("delete_agent_keys", "delete_agent_presence", "delete_agents", "delete"):
        await conn.execute(SQL[statement], tenant)
