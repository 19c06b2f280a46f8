"""Tenants, agents and jobs for tests that need them, made by the real stores; and a service in process.

Every test folder may use it: nothing here is faked, and time passes by what the test writes into the database.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from httpx import ASGITransport, AsyncClient
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from platform_core.domain import tokens
from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.jobs import JobType, Priority
from platform_core.domain.scheduling import Profile, Requirement
from platform_server.kit.clock import new_id
from platform_server.store import agents, archive, attempts, claims, jobs, polls, submissions, tenants
from platform_server.store.claiming import Claiming
from platform_server.store.claims import HandedOut, Offer
from platform_server.store.connection import Conn, Pool, acquire, transaction
from platform_server.store.submissions import NewJob

JWT_SECRET = "a secret of at least thirty-two bytes"
KEY = b"0" * 32
JOB_TOKEN_KEYS = f"k1:{KEY.hex()}"
REQUIREMENT = Requirement(frozenset({"nuclei"}), "nuclei", None)


def bearer(secret: str = JWT_SECRET, **claims: object) -> str:
    """Signs a token, a platform administrator's by default; claims may be given, None leaves one out."""
    facts = {
        "sub": "ada",
        "iss": "platform",
        "aud": "platform-agents",
        "exp": datetime.now(UTC) + timedelta(minutes=5),
        "role": "platform_admin",
        **claims,
    }
    return jwt.encode({k: v for k, v in facts.items() if v is not None}, secret, algorithm="HS256")


def new_job(tenant: TenantId, **other: Any) -> NewJob:
    facts: dict[str, Any] = {
        "id": JobId(new_id()),
        "type": JobType.SCAN,
        "priority": Priority.NORMAL,
        "payload": '{"tool": "nuclei", "target": "example.com"}',
        "requirement": REQUIREMENT,
        "timeout_seconds": 1800,
        "auth_token_hash": "0" * 64,
        "retry_of": None,
        "traceparent": None,
        "key": None,
        "body_hash": "",
    }
    return NewJob(tenant=tenant, **{**facts, **other})


async def a_lane(conn: Conn, tenant: TenantId, requirement: Requirement, base: int) -> int:
    """The lane of such jobs; made when there is none."""
    asked = [*sorted(requirement.capabilities)], requirement.tool or "", requirement.preferred_region or ""
    await conn.execute(
        "INSERT INTO requirements (capabilities, tool, preferred_region) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        *asked,
    )
    lane: int = await conn.fetchval(
        "INSERT INTO lanes (tenant_id, requirement_id, base)"
        " SELECT $1, id, $2 FROM requirements WHERE (capabilities, tool, preferred_region) = ($3, $4, $5)"
        " ON CONFLICT (tenant_id, requirement_id, base) DO UPDATE SET base = excluded.base RETURNING id",
        tenant, base, *asked,
    )  # fmt: skip
    return lane


@asynccontextmanager
async def rolled_back(conn: Conn) -> AsyncIterator[None]:
    """One of many examples on a connection in a transaction."""
    example = conn.transaction()
    await example.start()
    try:
        yield
    finally:
        await example.rollback()


@asynccontextmanager
async def in_process(app: Starlette) -> AsyncIterator[AsyncClient]:
    """The service with its lifespan open; gives a client of it, without credentials."""
    async with app.router.lifespan_context(app) as state:

        async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "state": dict(state or {})}, receive, send)

        async with AsyncClient(transport=ASGITransport(with_state), base_url="http://service") as client:
            yield client


async def eventually(holds: Callable[[], Awaitable[bool]], *, seconds: float = 5.0) -> None:
    """Asks until it holds. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - what it waits for happens in Postgres or Redis
            await asyncio.sleep(0.01)


def token(job: JobId, attempt: int) -> str:
    return tokens.secret_hash(tokens.job_token(job, attempt, kid="k1", key=KEY))


@dataclass
class World:
    """Tenants, agents and jobs, by the real stores; time passes by ``execute``."""

    pool: Pool

    async def execute(self, statement: str, *args: object) -> str:
        return await self.pool.execute(statement, *args)

    async def tenant(self, plan: str = "enterprise") -> TenantId:
        tenant = TenantId(new_id())
        async with transaction(self.pool) as conn:
            await tenants.put(conn, tenant, name="acme", plan=plan, status="active")
        return tenant

    async def agent(
        self,
        name: str = "scanner-1",
        *,
        offers: Sequence[str] = ("nuclei",),
        region: str | None = None,
        max_concurrent: int = 50,
        key: str | None = None,
    ) -> AgentId:
        """Online, and seen just now. ``offers``: its capabilities, and its tools too."""
        agent = AgentId(new_id())
        described = agents.Description(
            name=name, capabilities=offers, tools=offers, labels=[], region=region, max_concurrent=max_concurrent,
            version=None, hostname=None,
        )  # fmt: skip
        stored = agents.Key(hash=tokens.secret_hash(key or name), prefix="rdv_agent_x")
        async with transaction(self.pool) as conn:
            assert await agents.insert_if_name_free(conn, agent, described, stored)
        await self.seen(agent, ago=0, online=True)
        return agent

    async def seen(self, agent: AgentId, *, ago: float, online: bool) -> None:
        await self.execute(
            "UPDATE agent_presence SET online = $2, last_seen_at = clock_timestamp() - $3::interval"
            " WHERE agent_id = $1",
            agent,
            online,
            timedelta(seconds=ago),
        )

    async def aged(self, job: JobId, by: timedelta) -> None:
        """The queued job has waited for so much longer."""
        await self.execute("UPDATE commands SET queued_at = queued_at - $2::interval WHERE id = $1", job, by)
        await self.execute(
            "INSERT INTO lane_wakes (lane_id, queued_at) SELECT lane_id, queued_at FROM commands WHERE id = $1", job
        )

    async def submit(
        self,
        tenant: TenantId,
        *,
        count: int = 1,
        priority: Priority = Priority.NORMAL,
        requirement: Requirement = REQUIREMENT,
        traceparent: str | None = None,
    ) -> list[JobId]:
        asked = [
            new_job(tenant, priority=priority, requirement=requirement, traceparent=traceparent) for _ in range(count)
        ]
        async with acquire(self.pool) as conn:
            accepted = await submissions.submit(conn, asked)
        assert all(isinstance(one, submissions.Accepted) for one in accepted), accepted
        return [job.id for job in asked]

    async def hand_out(self, agent: AgentId, *, count: int = 1) -> list[HandedOut]:
        async with transaction(self.pool) as conn:
            profile = await claims.intern_profile(conn, Profile(frozenset({"nuclei"}), frozenset({"nuclei"}), ""))
            await polls.note(conn, {agent: profile})
        claiming = Claiming(self.pool, token_hash=token, region_patience=timedelta(seconds=30))
        claimed = await claiming.claim([Offer(agent, profile, count, 0.0)])
        assert len(claimed.handed_out) == count
        return list(claimed.handed_out)

    async def held(self, agent: AgentId, *, acknowledged: bool = True) -> HandedOut:
        """A job that was submitted and handed to the agent."""
        await self.submit(await self.tenant())
        (handed_out,) = await self.hand_out(agent)
        if acknowledged:
            held = attempts.Held(handed_out.job, agent, handed_out.attempt, token(handed_out.job, handed_out.attempt))
            async with transaction(self.pool) as conn:
                (report,) = await attempts.ack(conn, [held])
            assert isinstance(report, attempts.Report), report
        return handed_out

    async def cancel(self, handed_out: HandedOut) -> None:
        async with acquire(self.pool) as conn:
            await jobs.cancel(conn, handed_out.tenant, handed_out.job)

    async def archived(self, *, ended: float = 0.0) -> int:
        """Jobs that ended so many seconds ago leave `commands`; how many did."""
        async with transaction(self.pool) as conn:
            moved, _ = await archive.move_finished(conn, archive.FRONT, after=timedelta(seconds=ended), limit=1000)
        return moved

    async def job(self, job: JobId) -> Any:
        row = await self.pool.fetchrow("SELECT *, attempt_log::text AS log FROM jobs WHERE id = $1", job)
        assert row is not None
        return row
