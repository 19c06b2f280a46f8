"""A submission: judged, given a token, committed with its neighbours, told to the dispatchers."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import msgspec

from job_intake import counts, validation, views
from job_intake.assignments import Assignments
from platform_core.domain import tokens
from platform_core.domain.errors import IdempotencyInFlight
from platform_core.domain.ids import JobId, TenantId
from platform_core.domain.scheduling import Requirement
from platform_core.wire.jobs import Queue, SubmitJob, Submitted
from platform_server.assembly.announcer import Announcer
from platform_server.kit import clock
from platform_server.kit.batching import Batch
from platform_server.store import idempotency, submissions
from platform_server.store.connection import Pool, acquire, retry_deadlock, transaction
from platform_server.store.idempotency import Key
from platform_server.store.submissions import Accepted, NewJob


class Submissions:
    """The first of ``keys`` signs job tokens."""

    def __init__(
        self,
        pool: Pool,
        announcer: Announcer,
        assignments: Assignments,
        keys: Mapping[str, bytes],
    ) -> None:
        self._pool = pool
        self._announcer = announcer
        self._assignments = assignments
        self._keys = keys
        self._batch: Batch[NewJob, Accepted] = Batch(self._flush)
        self._keys_in_flight: set[Key] = set()

    async def submit(
        self,
        tenant: TenantId,
        asked: SubmitJob,
        *,
        key: str | None,
        traceparent: str | None,
        retry_of: JobId | None = None,
    ) -> Submitted:
        """Queue it. Raises QueueFull, IdempotencyMismatch, IdempotencyInFlight, TenantUnknown, Unavailable."""
        job = self._new_job(tenant, asked, key=key, traceparent=traceparent, retry_of=retry_of)
        with self._in_flight(job):
            if await self._assignments.near(job.requirement):
                return self._answer(job, await self._queued_or_assigned(job))
            return self._answer(job, await self._queued(job))

    @contextmanager
    def _in_flight(self, job: NewJob) -> Iterator[None]:
        """One request with a key at a time, until it is answered. Of those in other replicas the store knows."""
        if job.key is None:
            yield
            return
        key = (job.tenant, job.key)
        if key in self._keys_in_flight:
            raise IdempotencyInFlight
        self._keys_in_flight.add(key)
        try:
            yield
        finally:
            self._keys_in_flight.discard(key)

    def _new_job(
        self, tenant: TenantId, asked: SubmitJob, *, key: str | None, traceparent: str | None, retry_of: JobId | None
    ) -> NewJob:
        job = JobId(clock.new_id())
        return NewJob(
            id=job,
            tenant=tenant,
            type=asked.type,
            priority=asked.priority,
            payload=bytes(asked.payload).decode(),
            requirement=Requirement(frozenset(asked.capabilities), validation.tool_of(asked), asked.preferred_region),
            timeout_seconds=asked.timeout,
            auth_token_hash=tokens.secret_hash(self._token(job)),
            retry_of=retry_of,
            traceparent=traceparent,
            key=key,
            body_hash=canonical_hash(asked, retry_of),
        )

    async def _flush(self, items: Sequence[NewJob]) -> Sequence[Accepted | Exception]:
        """One round trip, unless a key must be held meanwhile."""
        door = acquire if all(job.key is None for job in items) else transaction

        async def once() -> list[Accepted | Exception]:
            async with door(self._pool) as conn:
                return await submissions.submit(conn, items)

        return await retry_deadlock(once)

    async def _queued(self, job: NewJob) -> Accepted:
        """Committed, then told to the dispatchers."""
        accepted = await self._batch.add(job)
        if not accepted.replayed:
            counts.accepted(job.type)
            self._announcer.queued(job.id, job.tenant, job.requirement)
        return accepted

    async def _queued_or_assigned(self, job: NewJob) -> Accepted:
        """With its assignment, if that comes in time."""
        with self._assignments.awaited(job.id) as told:
            accepted = await self._queued(job)
            assignment = None if accepted.replayed else await self._assignments.in_time(told)
        if assignment is None:
            return accepted
        if job.key is not None:
            async with acquire(self._pool) as conn:
                await idempotency.note_told(conn, (job.tenant, job.key), job.id, assignment)
        return replace(accepted, assignment=assignment)

    def _answer(self, job: NewJob, accepted: Accepted) -> Submitted:
        """The same for the same job and key, whatever became of the job since, and whether or not it is still there."""
        told = views.submitted(job, accepted)
        return Submitted(
            job=told,
            auth_token=self._token(accepted.id),
            status=told.status,
            queue=Queue(position=told.position or 0),
        )

    def _token(self, job: JobId) -> str:
        kid, key = next(iter(self._keys.items()))
        return tokens.job_token(job, 1, kid=kid, key=key)


def canonical_hash(asked: SubmitJob, retry_of: JobId | None = None) -> str:
    """SHA-256 of the body as JSON with sorted keys: spelling and order of fields do not make it another body.

    A retry is no repetition of the submission that it resembles.
    """
    body = msgspec.json.decode(msgspec.json.encode(asked))
    return hashlib.sha256(msgspec.json.encode([body, retry_of], order="sorted")).hexdigest()
