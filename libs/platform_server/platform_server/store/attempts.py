"""Attempts: what agents write about the jobs they hold, and how jobs go back to the queue.

The batch functions answer one result or one error an item, in the items' order.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from platform_core.domain.attempts import AttemptOutcome
from platform_core.domain.errors import (
    AttemptSuperseded,
    DomainError,
    JobCancelled,
    JobNotRunning,
    JobNotYours,
    JobOver,
    NotFound,
    TokenInvalid,
)
from platform_core.domain.ids import AgentId, JobId, TenantId
from platform_core.domain.jobs import HELD, JobStatus, JobType
from platform_core.domain.scheduling import Requirement
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("attempts")


@dataclass(frozen=True, slots=True)
class Held:
    """Who writes about which job: an agent with a genuine token of an attempt. The token's hash is compared again."""

    job: JobId
    agent: AgentId
    attempt: int
    token_hash: str


@dataclass(frozen=True, slots=True)
class Report:
    """A job after a write of its agent. ``repeated``: it was written before, and this changed nothing."""

    job: JobId
    tenant: TenantId
    type: JobType
    status: JobStatus
    attempt: int
    progress: int | None
    timeout_seconds: int
    assigned_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    repeated: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class ProgressNote:
    held: Held
    progress: int
    message: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """``result`` is the agent's JSON text."""

    held: Held
    status: JobStatus
    result: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that ends without a result."""

    job: JobId
    attempt: int
    outcome: AttemptOutcome
    reason: str
    retries_spent: int = 0


@dataclass(frozen=True, slots=True)
class Requeued:
    job: JobId
    tenant: TenantId
    attempt: int
    agent: AgentId
    requirement: Requirement


@dataclass(frozen=True, slots=True)
class Failed:
    job: JobId
    tenant: TenantId
    attempt: int
    agent: AgentId


async def ack(conn: Conn, items: Sequence[Held]) -> list[Report | Exception]:
    """Assigned becomes running. A repeated ack is answered as the first."""
    rows = await conn.fetch(SQL["ack_if_current_attempt"], *_columns(items))
    return await _answered(conn, items, rows, already=frozenset({JobStatus.RUNNING}))


async def progress(conn: Conn, items: Sequence[ProgressNote]) -> list[Report | Exception]:
    """Note the progress of running jobs. A cancelled job is reported as such, not refused."""
    held = [item.held for item in items]
    rows = await conn.fetch(
        SQL["progress_if_current_attempt"],
        *_columns(held),
        [item.progress for item in items],
        [item.message for item in items],
    )
    return await _answered(conn, held, rows, already=frozenset({JobStatus.RUNNING, JobStatus.CANCELLED}))


async def complete(conn: Conn, items: Sequence[Outcome]) -> list[Report | Exception]:
    """Finish running jobs. The same result again is answered as the first time; another one is JobOver."""
    held = [item.held for item in items]
    rows = await conn.fetch(
        SQL["complete_if_current_attempt"],
        *_columns(held),
        [item.status for item in items],
        [item.result for item in items],
        [item.error for item in items],
    )
    done = _done(held, rows)
    standing = await _standing(conn, [h.job for h in held if h.job not in done])
    return [
        _report(done[item.held.job]) if item.held.job in done else _repeated(item, standing.get(item.held.job))
        for item in items
    ]


async def requeue(conn: Conn, ended: Sequence[Ended]) -> list[Requeued]:
    """Put held jobs back into the queue, if they are still on those attempts; returns those that went back."""
    rows = await conn.fetch(
        SQL["requeue_if_held_on_attempt"],
        [e.job for e in ended],
        [e.attempt for e in ended],
        [e.outcome for e in ended],
        [e.reason for e in ended],
        [e.retries_spent for e in ended],
    )
    return [_requeued(row) for row in rows]


async def give_up(conn: Conn, ended: Sequence[Ended]) -> list[Failed]:
    """Fail held jobs for good, if they are still on those attempts; returns those that did."""
    rows = await conn.fetch(
        SQL["fail_if_held_on_attempt"],
        [e.job for e in ended],
        [e.attempt for e in ended],
        [e.outcome for e in ended],
        [e.reason for e in ended],
    )
    return [Failed(row["id"], row["tenant_id"], row["attempt"], row["agent"]) for row in rows]


async def requeue_of_agent(conn: Conn, agent: AgentId, *, outcome: AttemptOutcome, reason: str) -> list[Requeued]:
    """Put back everything that the agent holds; spends no retry."""
    rows = await conn.fetch(SQL["held_by_agent"], agent)
    return await requeue(conn, [Ended(row["id"], row["attempt"], outcome, reason) for row in rows])


async def release(conn: Conn, held: Held) -> Requeued:
    """The agent hands its job back unfinished. Raises what `refusal` finds when it may not."""
    await check(conn, held)
    ended = Ended(held.job, held.attempt, AttemptOutcome.RELEASED, "the agent handed it back")
    requeued = await requeue(conn, [ended])
    if not requeued:
        await check(conn, held)
        raise JobNotRunning
    return requeued[0]


async def check(conn: Conn, held: Held) -> Report:
    """The job as it stands. Raises what `refusal` finds unless this attempt holds it."""
    standing = (await _standing(conn, [held.job])).get(held.job)
    refused = refusal(held, standing)
    if refused is not None:
        raise refused
    return _report(standing)


async def as_it_stands(conn: Conn, job: JobId) -> Report:
    """Whoever holds it. Raises NotFound."""
    standing = (await _standing(conn, [job])).get(job)
    if standing is None:
        raise NotFound("job")
    return _report(standing)


async def confirm_cancelled(conn: Conn, agent: AgentId, jobs: Sequence[JobId]) -> list[JobId]:
    """The agent stopped these cancelled jobs: free their slots. Returns those that were freed now."""
    return [row["id"] for row in await conn.fetch(SQL["confirm_cancelled"], agent, jobs)]


async def cancelled_but_held(conn: Conn, agent: AgentId) -> list[JobId]:
    """Cancelled jobs that the agent has not confirmed yet."""
    return [row["id"] for row in await conn.fetch(SQL["cancelled_but_held"], agent)]


async def holding(conn: Conn, agents: Collection[AgentId]) -> set[AgentId]:
    """Those of them that hold a job, cancelled jobs that are not confirmed among it."""
    return {AgentId(row["agent"]) for row in await conn.fetch(SQL["holding"], list(agents))}


def refusal(held: Held, standing: Any) -> DomainError | None:
    """Why a write with a genuine token is refused, judged in the order of docs/api.md; None when it may go on."""
    if standing is None:
        return NotFound("job")
    if held.attempt != standing["attempt"] or standing["status"] == JobStatus.QUEUED:
        return AttemptSuperseded()
    if standing["auth_token_hash"] != held.token_hash or standing["expired"]:
        return TokenInvalid("job_token_expired")
    if standing["platform_agent_id"] != held.agent:
        return JobNotYours()
    if standing["status"] == JobStatus.CANCELLED:
        return JobCancelled()
    if standing["status"] not in HELD:
        return JobOver()
    return None


async def _answered(
    conn: Conn, items: Sequence[Held], rows: Sequence[Any], *, already: frozenset[JobStatus]
) -> list[Report | Exception]:
    """Results in the items' order; a job that is in a state of ``already`` on this attempt is answered, not refused."""
    done = _done(items, rows)
    standing = await _standing(conn, [item.job for item in items if item.job not in done])
    return [
        _report(done[item.job]) if item.job in done else _refused(item, standing.get(item.job), already)
        for item in items
    ]


def _done(items: Sequence[Held], rows: Sequence[Any]) -> Mapping[JobId, Any]:
    """The jobs that were written and that one item alone is about: of several, each is judged by how the job stands."""
    times = Counter(item.job for item in items)
    return {row["id"]: row for row in rows if times[row["id"]] == 1}


def _refused(item: Held, standing: Any, already: frozenset[JobStatus]) -> Report | Exception:
    refused = refusal(item, standing)
    if standing is not None and standing["status"] in already and isinstance(refused, JobCancelled | None):
        return replace(_report(standing), repeated=True)
    return refused or JobNotRunning()


def _repeated(item: Outcome, standing: Any) -> Report | Exception:
    refused = refusal(item.held, standing)
    if isinstance(refused, JobOver):
        same = (standing["status"], standing["result"], standing["error"]) == (item.status, item.result, item.error)
        return replace(_report(standing), repeated=True) if same else refused
    return refused or JobNotRunning("The job was not acknowledged.")


async def _standing(conn: Conn, jobs: Sequence[JobId]) -> Mapping[JobId, Any]:
    if not jobs:
        return {}
    return {row["id"]: row for row in await conn.fetch(SQL["standing"], jobs)}


def _columns(items: Sequence[Held]) -> tuple[list[JobId], list[AgentId], list[int], list[str]]:
    return (
        [item.job for item in items],
        [item.agent for item in items],
        [item.attempt for item in items],
        [item.token_hash for item in items],
    )


def _report(row: Any) -> Report:
    return Report(
        job=row["id"],
        tenant=row["tenant_id"],
        type=JobType(row["type"]),
        status=JobStatus(row["status"]),
        attempt=row["attempt"],
        progress=row["progress"],
        timeout_seconds=row["timeout_seconds"],
        assigned_at=row["assigned_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
    )


def _requeued(row: Any) -> Requeued:
    requirement = Requirement(frozenset(row["capabilities"]), row["tool"], row["preferred_region"])
    return Requeued(row["id"], row["tenant_id"], row["attempt"], row["agent"], requirement)
