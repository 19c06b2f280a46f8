"""Job types, states, legal moves and limits."""

from datetime import timedelta
from itertools import product

import pytest

from platform_core.domain import jobs
from platform_core.domain.jobs import (
    HELD,
    LEGAL_MOVES,
    OPEN,
    OVER,
    JobStatus,
    JobType,
    Priority,
    may_move,
    token_lifetime,
)

Q, A, R = JobStatus.QUEUED, JobStatus.ASSIGNED, JobStatus.RUNNING
C, F, X, E = JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.EXPIRED

ALLOWED = {
    "handed out": (Q, A),
    "acknowledged": (A, R),
    "completed": (R, C),
    "failed": (R, F),
    "put back before the ack": (A, Q),
    "released or lost": (R, Q),
    "retries spent before the ack": (A, F),
    "cancelled while queued": (Q, X),
    "cancelled before the ack": (A, X),
    "cancelled while running": (R, X),
    "too old": (Q, E),
}


def test_job_type_whitelist_is_scan_collect_health_check() -> None:
    assert {*JobType} == {"scan", "collect", "health_check"}


def test_priorities_are_critical_high_normal_low() -> None:
    assert {*Priority} == {"critical", "high", "normal", "low"}


def test_open_held_and_over_divide_the_states() -> None:
    assert {A, R} == HELD
    assert HELD | {Q} == OPEN
    assert {C, F, X, E} == OVER


@pytest.mark.parametrize("move", ALLOWED.values(), ids=ALLOWED.keys())
def test_a_job_may_be(move: tuple[JobStatus, JobStatus]) -> None:
    assert may_move(*move)


@pytest.mark.parametrize(
    ("before", "after"), sorted(set(product(JobStatus, JobStatus)) - set(ALLOWED.values())), ids=str
)
def test_no_other_move_is_legal(before: JobStatus, after: JobStatus) -> None:
    assert not may_move(before, after)


def test_what_is_over_stays_over() -> None:
    assert not any(before in OVER for before, _ in LEGAL_MOVES)


@pytest.mark.parametrize(
    ("timeout", "expected"),
    [(timedelta(seconds=1), timedelta(seconds=601)), (timedelta(hours=2), timedelta(hours=2, minutes=10))],
)
def test_token_lifetime_is_job_timeout_plus_10_minutes(timeout: timedelta, expected: timedelta) -> None:
    assert token_lifetime(timeout) == expected


def test_maximum_payload_size_is_1_mb() -> None:
    assert jobs.MAX_PAYLOAD_BYTES == 1_048_576


def test_maximum_job_timeout_is_2_hours() -> None:
    assert timedelta(hours=2) == jobs.MAX_TIMEOUT


def test_defaults_are_those_of_the_api() -> None:
    assert timedelta(seconds=1800) == jobs.DEFAULT_TIMEOUT
    assert timedelta(seconds=60) == jobs.ACK_DEADLINE
    assert timedelta(seconds=86_400) == jobs.QUEUE_MAX_AGE
    assert timedelta(days=30) == jobs.JOB_RETENTION
    assert jobs.MAX_RETRIES == 3
    assert jobs.MAX_RESULT_BYTES == 10_485_760
