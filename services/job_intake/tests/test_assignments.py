"""What dispatchers tell of assignments, and the answers that wait for it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest

from job_intake.assignments import Assignments
from platform_core.domain.ids import AgentId, JobId
from platform_core.domain.scheduling import Profile
from platform_core.wire.events import AssignedJob, JobsAssigned
from platform_server.store.idempotency import Assignment
from world import REQUIREMENT

NUCLEI = frozenset({"nuclei"})
FITTING, OTHER = Profile(NUCLEI, NUCLEI, ""), Profile(NUCLEI, frozenset({"bandit"}), "")
AGENT, AT = AgentId(uuid4()), datetime(2026, 11, 25, 12, tzinfo=UTC)


def assignments(*offered: Profile, wait_ms: int = 1) -> Assignments:
    async def all_offered() -> Sequence[Profile]:
        return offered

    return Assignments(all_offered, wait=timedelta(milliseconds=wait_ms))


def message(*jobs: JobId) -> bytes:
    return msgspec.json.encode(JobsAssigned(jobs=tuple(AssignedJob(job, AGENT, AT) for job in jobs)))


def jobs(count: int) -> list[JobId]:
    return [JobId(uuid4()) for _ in range(count)]


async def test_an_answer_hears_of_its_own_job_though_the_claim_was_quicker_than_the_answers_wait() -> None:
    mine, also_mine, others = jobs(3)
    hearing = assignments()
    with hearing.awaited(mine) as told, hearing.awaited(also_mine) as nothing_told:
        hearing.heard(message(others, mine))
        assert await hearing.in_time(told) == Assignment(AGENT, AT)
        assert await hearing.in_time(nothing_told) is None


async def test_a_message_that_comes_twice_is_as_good_as_one() -> None:
    (job,) = jobs(1)
    hearing = assignments()
    with hearing.awaited(job) as told:
        for _ in range(2):
            hearing.heard(message(job))
        assert await hearing.in_time(told) == Assignment(AGENT, AT)


async def test_what_nobody_waits_for_is_not_even_read() -> None:
    (job,) = jobs(1)
    hearing = assignments()
    with hearing.awaited(job):
        hearing.heard(message(*jobs(9)))
        with pytest.raises(msgspec.DecodeError):
            hearing.heard(b"{")
    hearing.heard(message(job))
    hearing.heard(b"{")


async def test_fields_of_a_newer_version_are_passed_over() -> None:
    (job,) = jobs(1)
    hearing = assignments()
    with hearing.awaited(job) as told:
        hearing.heard(msgspec.json.encode([2, [[job, AGENT, AT, "more"]], "more"]))
        assert await hearing.in_time(told) == Assignment(AGENT, AT)


@pytest.mark.parametrize(
    ("offered", "wait_ms", "near"),
    [((FITTING,), 1, True), ((OTHER, FITTING), 1, True), ((OTHER,), 1, False), ((), 1, False), ((FITTING,), 0, False)],
    ids=["one fits", "one of two fits", "none fits", "none waits", "no answer may wait"],
)
async def test_an_assignment_is_near_when_a_fitting_poll_waits(
    offered: Sequence[Profile], wait_ms: int, near: bool
) -> None:
    assert await assignments(*offered, wait_ms=wait_ms).near(REQUIREMENT) is near
