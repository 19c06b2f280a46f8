"""Everything that the services ask of the store about jobs, in batches as they come, against a database as it is."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import cycle

from planning.load import KEY_HASH
from planning.watch import Watching
from platform_core.domain.attempts import AttemptOutcome
from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.jobs import JobStatus, JobType, Priority
from platform_core.domain.scheduling import Requirement
from platform_server.kit.clock import new_id, now
from platform_server.store import (
    agents,
    archive,
    attempts,
    claims,
    idempotency,
    jobs,
    polls,
    presence,
    statistics,
    submissions,
    sweeps,
    tenants,
)
from platform_server.store.attempts import Ended, Held, Outcome, ProgressNote
from platform_server.store.claims import HandedOut, Offer
from platform_server.store.idempotency import Assignment
from platform_server.store.presence import Beat
from platform_server.store.submissions import NewJob

BATCH = 32
HASH = "0" * 64
AT_ONCE = timedelta(0)
LONG_AGO = timedelta(days=365)
REQUIREMENT = Requirement(frozenset({"nuclei"}), "nuclei", None)

# Counted for people every few seconds or when somebody asks; what waits is read whole for it.
FOR_PEOPLE = frozenset({"jobs.stats", "jobs.stats_by_priority", "jobs.stats_by_tenant", "statistics.open_jobs",
                        "statistics.open_jobs_of_tenants"})  # fmt: skip
# The ranking is over all lanes that wait: its cost follows them and not the jobs (docs/scheduling.md).
RANKING = frozenset({"lane_heads", "lanes", "tenants", "tenant_turns"})
# Read whole for a good reason.
BY_DESIGN: Mapping[str, frozenset[str]] = {
    "claims.lock_and_begin": RANKING,
    # Once a minute, a look into the queue for each lane.
    "sweeps.wake_forgotten_lanes": RANKING,
    **dict.fromkeys(FOR_PEOPLE, frozenset({"commands"})),
}


@dataclass(frozen=True, slots=True)
class Cast:
    """``busy`` has a tenth of the archive. The agents have room."""

    busy: TenantId
    tenants: Sequence[TenantId]
    agents: Sequence[AgentId]


async def cast(conn: Watching) -> Cast:
    busy, *others = await conn.fetch(
        "SELECT id FROM tenants WHERE NOT is_system AND plan IN ('enterprise', 'pro') ORDER BY id LIMIT 65"
    )
    hands = await conn.fetch("SELECT id FROM agents ORDER BY id DESC LIMIT $1", BATCH)
    return Cast(busy["id"], [row["id"] for row in others] or [busy["id"]], [row["id"] for row in hands])


async def drive(conn: Watching, who: Cast) -> None:
    """One round of everything; what is there at the end is little more than at the beginning."""
    accepted = await submit(conn, who)
    handed_out = await claim(conn, who)
    await report(conn, handed_out)
    await show_signs(conn, who, handed_out)
    await read(conn, who, accepted)
    await sweep(conn)
    await count(conn)
    await delete_tenant(conn, who)


async def submit(conn: Watching, who: Cast) -> list[JobId]:
    asked = [
        NewJob(
            id=JobId(new_id()), tenant=tenant, type=JobType.SCAN, priority=Priority.CRITICAL,
            payload='{"tool": "nuclei", "target": "example.com"}', requirement=REQUIREMENT, timeout_seconds=1800,
            auth_token_hash=HASH, retry_of=None, traceparent=None, key=str(new_id()), body_hash=HASH,
        )
        for _, tenant in zip(range(BATCH), cycle(who.tenants), strict=False)
    ]  # fmt: skip
    async with conn.transaction():
        await submissions.submit(conn, asked)
    async with conn.transaction():
        again = await submissions.submit(conn, [replace(job, id=JobId(new_id())) for job in asked])
        first = asked[0]
        assert first.key is not None
        told = Assignment(who.agents[0], now())
        await idempotency.note_told(conn, (first.tenant, first.key), first.id, told)
    return [one.id for one in again if isinstance(one, submissions.Accepted)]


async def claim(conn: Watching, who: Cast) -> Sequence[HandedOut]:
    async with conn.transaction():
        await agents.identity(conn, KEY_HASH)
        await polls.note(conn, dict.fromkeys(who.agents, 1))
        await polls.any_queued(conn)
        slots = await claims.slots(conn)
    offers = [Offer(agent, 1, 1, float(n)) for n, agent in enumerate(who.agents)]
    begin = claims.SQL["lock_and_begin"]
    claimed = await claims.claim_at(
        conn, offers, slots=slots, token_hash=lambda *_: HASH, patience=AT_ONCE, begin=begin
    )
    await conn.execute(claims.SQL["unlock"])
    assert len(claimed.handed_out) >= 8
    return claimed.handed_out


async def report(conn: Watching, handed_out: Sequence[HandedOut]) -> None:
    """Most are finished; of the others one each is handed back, lost, given up, cancelled."""
    held = [Held(job.job, job.agent, job.attempt, HASH) for job in handed_out]
    back, lost, failed, cancelled, *finished = held
    async with conn.transaction():
        await attempts.ack(conn, held)
    async with conn.transaction():
        await attempts.progress(conn, [ProgressNote(one, 50, "half") for one in held])
    outcomes = [Outcome(one, JobStatus.COMPLETED, '{"findings": []}', None) for one in finished]
    for _ in range(2):
        async with conn.transaction():
            await attempts.complete(conn, outcomes)
    async with conn.transaction():
        await attempts.release(conn, back)
        await attempts.requeue(conn, [Ended(lost.job, lost.attempt, AttemptOutcome.LOST, "silent", 1)])
        await attempts.give_up(conn, [Ended(failed.job, failed.attempt, AttemptOutcome.LOST, "silent")])
        tenant = next(job.tenant for job in handed_out if job.job == cancelled.job)
        await jobs.cancel(conn, tenant, cancelled.job)
        await attempts.cancelled_but_held(conn, cancelled.agent)
        await attempts.confirm_cancelled(conn, cancelled.agent, [cancelled.job])
        await attempts.holding(conn, [one.agent for one in held])
        # Whoever holds jobs now is disabled, and there is nothing to give back.
        await attempts.requeue_of_agent(conn, back.agent, outcome=AttemptOutcome.AGENT_DISABLED, reason="")


async def show_signs(conn: Watching, who: Cast, handed_out: Sequence[HandedOut]) -> None:
    async with conn.transaction():
        await presence.note_heartbeats(conn, [Beat(agent=agent, version="1.0.0") for agent in who.agents])
        await presence.note_seen(conn, who.agents)
        await presence.jobs_of(conn, who.agents)
        await presence.ended_at(conn, handed_out[0].agent, [job.job for job in handed_out])
        await presence.mark_stale_offline(conn, after=LONG_AGO, limit=200)
        await presence.mark_seen_online(conn, within=timedelta(minutes=1), limit=200)
        await presence.silence(conn, after=timedelta(minutes=1), within=timedelta(minutes=1))


async def read(conn: Watching, who: Cast, queued: Sequence[JobId]) -> None:
    """As tenants read; the busy one has most to look through."""
    filters = [jobs.Filter(), jobs.Filter(status=JobStatus.COMPLETED), jobs.Filter(type=JobType.SCAN)]
    others = [jobs.Filter(status=JobStatus.FAILED), jobs.Filter(status=JobStatus.RUNNING)]
    async with conn.transaction():
        await tenants.standing(conn, who.busy)
        after: JobId | None = None
        for only in (*filters, *others):
            page = await jobs.page(conn, who.busy, only, after=None, limit=51)
            after = page[-1].id if page else after
        if after is not None:
            await jobs.page(conn, who.busy, jobs.Filter(), after=after, limit=51)
            await jobs.find(conn, who.busy, after)
            await jobs.belongs_to_another(conn, who.tenants[0], after)
        await jobs.positions(conn, who.tenants[0], queued)


async def sweep(conn: Watching) -> None:
    deadlines = sweeps.Deadlines(ack=LONG_AGO, silence=LONG_AGO)
    async with conn.transaction():
        await sweeps.lock_lost(conn, deadlines, limit=200)
        await sweeps.free_unconfirmed(conn, after=AT_ONCE, limit=200)
        await sweeps.expire(conn, after=LONG_AGO, limit=200)
        await sweeps.expire(conn, after=timedelta(minutes=59), limit=200)
        await sweeps.refresh_priorities(conn, sweeps.FRONT, limit=1000)
        await sweeps.wake_forgotten_lanes(conn, limit=200)
        await sweeps.delete_idempotency_keys(conn, after=timedelta(hours=22), limit=200)
        await archive.move_finished(conn, archive.FRONT, after=AT_ONCE, limit=1000)
        await archive.delete_old(conn, after=timedelta(days=29), limit=200)


async def count(conn: Watching) -> None:
    async with conn.transaction():
        await jobs.statistics(conn)
        await statistics.open_jobs(conn)
        await statistics.open_jobs_of_tenants(conn)
        await statistics.agents(conn)


async def delete_tenant(conn: Watching, who: Cast) -> None:
    """Taken back at the end: the next round needs it."""
    async with _taken_back(conn):
        await tenants.lock(conn, who.tenants[-1])
        await tenants.delete_open_jobs(conn, who.tenants[-1])
        await tenants.delete_some_history(conn, who.tenants[-1], limit=500)


@asynccontextmanager
async def _taken_back(conn: Watching) -> AsyncIterator[None]:
    transaction = conn.transaction()
    await transaction.start()
    yield
    await transaction.rollback()
