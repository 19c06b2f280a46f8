"""Every write of the store against a job in every state: only the legal moves happen."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

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
from platform_core.domain.ids import SYSTEM_TENANT, AgentId, JobId, TenantId
from platform_core.domain.jobs import HELD, LEGAL_MOVES, OVER, JobStatus
from platform_core.domain.scheduling import Profile, Requirement
from platform_server.kit.clock import new_id, now
from platform_server.store import archive, attempts, claims, jobs, sweeps, tenants
from platform_server.store.attempts import Ended, Held, Outcome, ProgressNote, Report
from platform_server.store.connection import Conn
from platform_server.store.sql import load
from world import a_lane

Q, A, R = JobStatus.QUEUED, JobStatus.ASSIGNED, JobStatus.RUNNING
C, F, X, E = JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.EXPIRED

ATTEMPT = 2
HASH = "a" * 64
DAY = timedelta(days=1)
REASON = "because"


@dataclass(frozen=True)
class Job:
    """A job, and the agent that has it or would be given it."""

    id: JobId
    tenant: TenantId
    agent: AgentId
    profile: int

    @property
    def held(self) -> Held:
        return Held(self.id, self.agent, ATTEMPT, HASH)

    def ended(self, attempt: int = ATTEMPT) -> Ended:
        return Ended(self.id, attempt, AttemptOutcome.LOST, REASON)


async def an_agent(conn: Conn, name: str = "scanner-1") -> AgentId:
    agent = AgentId(new_id())
    await conn.execute(
        "INSERT INTO agents (id, tenant_id, name, is_platform_agent, max_concurrent) VALUES ($1, $2, $3, true, 10)",
        agent, SYSTEM_TENANT, name,
    )  # fmt: skip
    return agent


async def a_job(conn: Conn, status: JobStatus) -> Job:
    """Old enough for every sweep; its agent offline since long; its slot held where it may be."""
    tenant, agent, job = TenantId(new_id()), await an_agent(conn), JobId(new_id())
    profile = await claims.intern_profile(conn, Profile(frozenset(), frozenset({"nuclei"}), ""))
    await conn.execute("INSERT INTO agent_presence VALUES ($1, false, '-infinity', $2)", agent, profile)
    await tenants.put(conn, tenant, name="acme", plan="free", status="active")
    lane = await a_lane(conn, tenant, Requirement(frozenset(), "nuclei", None), 500)
    await conn.execute(
        "INSERT INTO commands (id, tenant_id, type, priority, status, payload, tool, lane_id, is_platform_job,"
        " queued_at, platform_agent_id, profile_id, cost, slot_held, attempt, auth_token_hash, auth_token_expires_at,"
        " assigned_at, completed_at)"
        " VALUES ($1, $2, 'scan', 'normal', $3, '{}', 'nuclei', $4, true, now() - interval '40 days',"
        " $5, $6, 1, $7, $8, $9, now() + interval '40 minutes', now() - interval '40 days',"
        " CASE WHEN $10 THEN now() - interval '31 days' END)",
        job, tenant, status, lane, None if status is Q else agent, profile, status in HELD | {X}, ATTEMPT, HASH,
        status in OVER,
    )  # fmt: skip
    await conn.execute("INSERT INTO lane_wakes (lane_id, queued_at) VALUES ($1, now() - interval '40 days')", lane)
    return Job(job, tenant, agent, profile)


async def claim(conn: Conn, job: Job) -> None:
    offers = [claims.Offer(job.agent, job.profile, 1, 0.0)]
    slots = await claims.slots(conn)
    await claims.claim_at(conn, offers, slots=slots, token_hash=lambda *_: HASH, patience=timedelta(0), now=now())


async def assign(conn: Conn, job: Job) -> None:
    """What a claim writes about a job that was queued when it looked, and may be anything now."""
    await conn.fetch(
        claims.SQL["assign_if_queued"], [job.id], [job.agent], [job.profile], [1.0], [HASH], now(), *[[]] * 11, 1.0
    )


async def complete(conn: Conn, job: Job) -> None:
    await attempts.complete(conn, [Outcome(job.held, C, "{}", None)])


async def fail(conn: Conn, job: Job) -> None:
    await attempts.complete(conn, [Outcome(job.held, F, None, "timeout")])


async def requeue_of_agent(conn: Conn, job: Job) -> None:
    await attempts.requeue_of_agent(conn, job.agent, outcome=AttemptOutcome.AGENT_DISABLED, reason=REASON)


async def recover(conn: Conn, job: Job, *, max_retries: int = 3) -> None:
    lost = await sweeps.lock_lost(conn, sweeps.Deadlines(ack=DAY, silence=DAY), limit=10)
    await sweeps.settle(conn, lost, max_retries=max_retries)


async def delete_tenant(conn: Conn, job: Job) -> None:
    await tenants.delete_open_jobs(conn, job.tenant)


Write = Callable[[Conn, Job], Awaitable[object]]
BACK = {A: Q, R: Q}
GONE = None

WRITES: Mapping[str, tuple[Write, Mapping[JobStatus, JobStatus | None]]] = {
    "claim": (claim, {Q: A}),
    "assign": (assign, {Q: A}),
    "ack": (lambda conn, job: attempts.ack(conn, [job.held]), {A: R}),
    "progress": (lambda conn, job: attempts.progress(conn, [ProgressNote(job.held, 50, None)]), {}),
    "result: completed": (complete, {R: C}),
    "result: failed": (fail, {R: F}),
    "release": (lambda conn, job: attempts.release(conn, job.held), BACK),
    "requeue": (lambda conn, job: attempts.requeue(conn, [job.ended()]), BACK),
    "requeue all of an agent": (requeue_of_agent, BACK),
    "give up": (lambda conn, job: attempts.give_up(conn, [job.ended()]), {A: F, R: F}),
    "recovery": (recover, BACK),
    "recovery, retries spent": (lambda conn, job: recover(conn, job, max_retries=0), {A: F, R: F}),
    "cancel": (lambda conn, job: jobs.cancel(conn, job.tenant, job.id), {Q: X, A: X, R: X}),
    "confirm cancelled": (lambda conn, job: attempts.confirm_cancelled(conn, job.agent, [job.id]), {}),
    "free unconfirmed": (lambda conn, _: sweeps.free_unconfirmed(conn, after=DAY, limit=10), {}),
    "expiry": (lambda conn, _: sweeps.expire(conn, after=DAY, limit=10), {Q: E}),
    "priority update": (lambda conn, _: sweeps.refresh_priorities(conn, sweeps.FRONT, limit=10), {}),
    "archive": (
        lambda conn, _: archive.move_finished(conn, archive.FRONT, after=DAY, limit=10),
        dict.fromkeys([C, F, E], GONE),
    ),
    "retention": (lambda conn, _: archive.delete_old(conn, after=DAY, limit=10), {}),
    "delete tenant": (delete_tenant, dict.fromkeys([Q, A, R, X], GONE)),
}


async def row(conn: Conn, job: Job) -> Any:
    return await conn.fetchrow("SELECT * FROM commands WHERE id = $1", job.id)


@pytest.mark.parametrize("before", JobStatus)
@pytest.mark.parametrize("write", WRITES)
async def test_a_write_makes_its_own_moves_and_no_other(conn: Conn, write: str, before: JobStatus) -> None:
    act, moves = WRITES[write]
    job = await a_job(conn, before)
    try:
        await act(conn, job)
    except DomainError:
        assert before not in moves
    after = await row(conn, job)
    assert (after and after["status"]) == moves.get(before, before)


def test_the_writes_make_every_legal_move_and_no_other() -> None:
    moves = {(before, after) for _, moves in WRITES.values() for before, after in moves.items() if after is not GONE}
    assert moves == LEGAL_MOVES


def test_no_other_statement_moves_a_job() -> None:
    """A statement that is new here belongs into the table above."""
    moving = {
        name
        for table in ("agents", "attempts", "claims", "jobs", "leases", "presence", "sweeps", "tenants")
        for name, text in load(table).items()
        if re.search(r"UPDATE commands\s+SET status\b", text)
    }
    assert moving == {
        "assign_if_queued", "ack_if_current_attempt", "complete_if_current_attempt", "requeue_if_held_on_attempt",
        "fail_if_held_on_attempt", "cancel_if_open", "expire_old",
    }  # fmt: skip


AgentWrite = Callable[[Conn, Held], Awaitable[object]]


async def _ack(conn: Conn, held: Held) -> object:
    return (await attempts.ack(conn, [held]))[0]


async def _progress(conn: Conn, held: Held) -> object:
    return (await attempts.progress(conn, [ProgressNote(held, 50, "half")]))[0]


async def _complete(conn: Conn, held: Held) -> object:
    return (await attempts.complete(conn, [Outcome(held, C, "{}", None)]))[0]


async def _release(conn: Conn, held: Held) -> object:
    try:
        return await attempts.release(conn, held)
    except DomainError as error:
        return error


AGENT_WRITES: Mapping[AgentWrite, JobStatus] = {_ack: A, _progress: R, _complete: R, _release: R}


@pytest.fixture(params=AGENT_WRITES, ids=lambda write: write.__name__.strip("_"))
def agent_write(request: pytest.FixtureRequest) -> AgentWrite:
    write: AgentWrite = request.param
    return write


async def refused(conn: Conn, write: AgentWrite, job: Job, held: Held) -> object:
    """What the write answered, having changed nothing."""
    before = await row(conn, job)
    answer = await write(conn, held)
    assert await row(conn, job) == before
    return answer


async def test_a_write_under_an_older_attempt_is_superseded(conn: Conn, agent_write: AgentWrite) -> None:
    job = await a_job(conn, AGENT_WRITES[agent_write])
    older = replace(job.held, attempt=ATTEMPT - 1)
    assert isinstance(await refused(conn, agent_write, job, older), AttemptSuperseded)


async def test_a_write_of_another_agent_is_not_its_own(conn: Conn, agent_write: AgentWrite) -> None:
    job = await a_job(conn, AGENT_WRITES[agent_write])
    other = replace(job.held, agent=await an_agent(conn, "scanner-2"))
    assert isinstance(await refused(conn, agent_write, job, other), JobNotYours)


async def test_a_write_with_another_hash_is_refused(conn: Conn, agent_write: AgentWrite) -> None:
    job = await a_job(conn, AGENT_WRITES[agent_write])
    assert isinstance(await refused(conn, agent_write, job, replace(job.held, token_hash="b" * 64)), TokenInvalid)


async def test_a_write_with_an_expired_token_is_refused(conn: Conn, agent_write: AgentWrite) -> None:
    job = await a_job(conn, AGENT_WRITES[agent_write])
    await conn.execute("UPDATE commands SET auth_token_expires_at = clock_timestamp() WHERE id = $1", job.id)
    assert isinstance(await refused(conn, agent_write, job, job.held), TokenInvalid)


async def test_a_write_about_a_job_that_went_back_is_superseded(conn: Conn, agent_write: AgentWrite) -> None:
    job = await a_job(conn, AGENT_WRITES[agent_write])
    await attempts.requeue(conn, [job.ended()])
    assert isinstance(await refused(conn, agent_write, job, job.held), AttemptSuperseded)


async def test_a_write_about_no_job_is_not_found(conn: Conn, agent_write: AgentWrite) -> None:
    job = await a_job(conn, R)
    absent = replace(job.held, job=JobId(new_id()))
    assert isinstance(await refused(conn, agent_write, job, absent), NotFound)


JUDGED = ["an older attempt", "an expired token", "another agent", "a cancelled job"]


@pytest.mark.parametrize(
    ("faults", "first"),
    [(JUDGED, AttemptSuperseded), (JUDGED[1:], TokenInvalid), (JUDGED[2:], JobNotYours), (JUDGED[3:], JobCancelled)],
)
async def test_of_several_faults_the_first_in_order_is_told(
    conn: Conn, faults: list[str], first: type[DomainError]
) -> None:
    job = await a_job(conn, X)
    held = job.held
    if "an older attempt" in faults:
        held = replace(held, attempt=1)
    if "an expired token" in faults:
        await conn.execute("UPDATE commands SET auth_token_expires_at = clock_timestamp()")
    if "another agent" in faults:
        held = replace(held, agent=await an_agent(conn, "scanner-2"))
    assert isinstance(await _complete(conn, held), first)


async def test_recovery_and_a_late_result_cannot_both_win(conn: Conn) -> None:
    job = await a_job(conn, R)
    lost = await sweeps.lock_lost(conn, sweeps.Deadlines(ack=DAY, silence=DAY), limit=10)
    assert isinstance(await _complete(conn, job.held), Report)
    settled = await sweeps.settle(conn, lost, max_retries=3)
    assert not settled.ended


async def test_a_settlement_of_an_older_attempt_changes_nothing(conn: Conn) -> None:
    job = await a_job(conn, R)
    before = await row(conn, job)
    assert await attempts.requeue(conn, [job.ended(ATTEMPT - 1)]) == []
    assert await attempts.give_up(conn, [job.ended(ATTEMPT - 1)]) == []
    assert await row(conn, job) == before


async def test_a_repeated_ack_is_answered_as_the_first_time(conn: Conn) -> None:
    job = await a_job(conn, A)
    assert await _ack(conn, job.held) == await _ack(conn, job.held)


@pytest.mark.parametrize(("status", "result", "error"), [(C, '{"findings": []}', None), (F, None, "timeout")])
async def test_the_same_result_again_is_answered_as_the_first_time_and_another_is_refused(
    conn: Conn, status: JobStatus, result: str | None, error: str | None
) -> None:
    job = await a_job(conn, R)
    outcome = Outcome(job.held, status, result, error)
    first = await attempts.complete(conn, [outcome])
    assert await attempts.complete(conn, [outcome]) == first
    (second,) = await attempts.complete(conn, [replace(outcome, result='{"findings": [1]}')])
    assert isinstance(second, JobOver)


async def test_a_result_before_the_ack_is_refused(conn: Conn) -> None:
    job = await a_job(conn, A)
    assert isinstance(await refused(conn, _complete, job, job.held), JobNotRunning)


async def test_a_cancelled_job_is_told_to_its_progress_and_refuses_its_result(conn: Conn) -> None:
    job = await a_job(conn, R)
    await jobs.cancel(conn, job.tenant, job.id)
    told = await _progress(conn, job.held)
    assert isinstance(told, Report)
    assert told.status is X
    for write in (_ack, _complete, _release):
        assert isinstance(await refused(conn, write, job, job.held), JobCancelled)


async def test_a_cancelled_jobs_slot_is_freed_once_by_its_own_agent(conn: Conn) -> None:
    job = await a_job(conn, R)
    assert await jobs.cancel(conn, job.tenant, job.id) == jobs.Cancelled(job.agent, ATTEMPT)
    assert await attempts.confirm_cancelled(conn, await an_agent(conn, "scanner-2"), [job.id]) == []
    assert await attempts.cancelled_but_held(conn, job.agent) == [job.id]
    assert await attempts.holding(conn, [job.agent]) == {job.agent}
    assert await attempts.confirm_cancelled(conn, job.agent, [job.id]) == [job.id]
    assert await attempts.confirm_cancelled(conn, job.agent, [job.id]) == []
    assert await attempts.holding(conn, [job.agent]) == set()


async def test_of_a_batch_each_item_has_its_own_answer_in_order(conn: Conn) -> None:
    job = await a_job(conn, A)
    absent, older = replace(job.held, job=JobId(new_id())), replace(job.held, attempt=1)
    answers = await attempts.ack(conn, [absent, job.held, older])
    assert [type(answer) for answer in answers] == [NotFound, Report, AttemptSuperseded]


async def test_in_a_batch_another_agent_does_not_share_the_holders_answer(conn: Conn) -> None:
    job = await a_job(conn, R)
    other = replace(job.held, agent=await an_agent(conn, "scanner-2"))
    answers = await attempts.progress(conn, [ProgressNote(other, 1, None), ProgressNote(job.held, 50, None)])
    assert [type(answer) for answer in answers] == [JobNotYours, Report]
    assert (await row(conn, job))["progress"] == 50


async def test_of_two_results_in_a_batch_one_is_accepted(conn: Conn) -> None:
    job = await a_job(conn, R)
    outcomes = [Outcome(job.held, C, f'"{n}"', None) for n in range(2)]
    answers = await attempts.complete(conn, outcomes)
    assert {type(answer) for answer in answers} == {Report, JobOver}
    (accepted,) = [o.result for o, answer in zip(outcomes, answers, strict=True) if isinstance(answer, Report)]
    assert await conn.fetchval("SELECT result::text FROM commands WHERE id = $1", job.id) == accepted
