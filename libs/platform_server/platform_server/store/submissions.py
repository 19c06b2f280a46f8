"""Submissions, in batches: judged by the room that their tenants have and the keys that were seen, placed, queued."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from platform_core.domain.errors import IdempotencyInFlight, IdempotencyMismatch, QueueFull, TenantUnknown
from platform_core.domain.ids import JobId, TenantId
from platform_core.domain.jobs import JobType, Priority
from platform_core.domain.priority import base_priority
from platform_core.domain.scheduling import Requirement
from platform_server.store import idempotency
from platform_server.store.connection import Conn
from platform_server.store.idempotency import Assignment, FirstAnswer, Key
from platform_server.store.sql import load

SQL = load("submissions")


@dataclass(frozen=True, slots=True)
class NewJob:
    """``payload`` is the tenant's JSON text. ``key`` and ``body_hash`` are there for an idempotent submission."""

    id: JobId
    tenant: TenantId
    type: JobType
    priority: Priority
    payload: str
    requirement: Requirement
    timeout_seconds: int
    auth_token_hash: str
    retry_of: JobId | None
    traceparent: str | None
    key: str | None
    body_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """``id`` is another than that of the submission when its key was seen before: ``replayed``.

    ``assignment``: what the first answer told of, if it did.
    """

    id: JobId
    position: int
    queued_at: datetime
    replayed: bool = False
    assignment: Assignment | None = None


async def submit(conn: Conn, asked: Sequence[NewJob]) -> list[Accepted | Exception]:
    """Queue them. One statement; several if any has a key, so those in a transaction. One result or error an item.

    Errors: QueueFull, TenantUnknown, IdempotencyMismatch; IdempotencyInFlight while another submission has the key.
    The limit is exact with any number of callers: submissions of one tenant stand in line at its row, and what is
    counted after that sees all that were committed before.
    """
    keys = {key for job in asked if (key := _key_of(job)) is not None}
    if not keys:
        return await _queue(conn, asked)
    in_flight = await idempotency.hold(conn, keys)
    seen = await idempotency.find(conn, keys)
    # Who is answered by its key does not wait in line with the others.
    known = {job.id: _by_key(job, in_flight=in_flight, seen=seen) for job in asked}
    first: dict[Key | JobId, NewJob] = {}
    for job in asked:
        if known[job.id] is None:
            first.setdefault(_key_of(job) or job.id, job)
    queued = dict(zip(first, await _queue(conn, [*first.values()]), strict=True))
    await idempotency.remember(conn, _first_answers(first.values(), queued.values()))
    return [known[job.id] or _of_its_own(job, queued[_key_of(job) or job.id]) for job in asked]


def _key_of(job: NewJob) -> Key | None:
    return None if job.key is None else (job.tenant, job.key)


def _by_key(job: NewJob, *, in_flight: Set[Key], seen: Mapping[Key, FirstAnswer]) -> Accepted | Exception | None:
    """What the job's key says of it, if anything. A replay costs no room."""
    key = _key_of(job)
    if key in in_flight:
        return IdempotencyInFlight()
    if key is None or key not in seen:
        return None
    return _again(seen[key]) if seen[key].body_hash == job.body_hash else IdempotencyMismatch()


def _again(first: FirstAnswer) -> Accepted:
    return Accepted(
        id=first.job,
        position=first.position,
        queued_at=first.queued_at,
        replayed=True,
        assignment=first.assignment,
    )


def _of_its_own(job: NewJob, answer: Accepted | Exception) -> Accepted | Exception:
    """The answer to the first job of the batch with its key, or to itself. A refused one leaves its key to nobody."""
    if isinstance(answer, Accepted) and answer.id != job.id:
        return IdempotencyInFlight()
    return answer


def _first_answers(jobs: Iterable[NewJob], answers: Iterable[Accepted | Exception]) -> Mapping[Key, FirstAnswer]:
    """What is remembered: a refused submission stores nothing."""
    return {
        key: FirstAnswer(body_hash=job.body_hash, job=job.id, position=answer.position, queued_at=answer.queued_at)
        for job, answer in zip(jobs, answers, strict=True)
        if (key := _key_of(job)) is not None and isinstance(answer, Accepted)
    }


async def _queue(conn: Conn, asked: Sequence[NewJob]) -> list[Accepted | Exception]:
    if not asked:
        return []
    rows = await conn.fetch(
        SQL["submit"],
        [job.id for job in asked],
        [job.tenant for job in asked],
        [job.type for job in asked],
        [job.priority for job in asked],
        [base_priority(job.priority) for job in asked],
        [job.payload for job in asked],
        [msgspec.json.encode(sorted(job.requirement.capabilities)).decode() for job in asked],
        [job.requirement.tool for job in asked],
        [job.requirement.preferred_region for job in asked],
        [job.timeout_seconds for job in asked],
        [job.auth_token_hash for job in asked],
        [job.retry_of for job in asked],
        [job.traceparent for job in asked],
    )
    return [_answer(job, row) for job, row in zip(asked, rows, strict=True)]


def _answer(job: NewJob, row: Any) -> Accepted | QueueFull | TenantUnknown:
    if row["place"] is not None:
        return Accepted(id=job.id, position=row["place"], queued_at=row["queued_at"])
    if row["size_limit"] is not None:
        return QueueFull(limit=row["size_limit"], size=row["size"])
    return TenantUnknown()
