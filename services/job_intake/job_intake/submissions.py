"""A submission: judged, given a token, committed with its neighbours, told to the dispatchers."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import msgspec

from job_intake import counts, validation, views
from platform_core.domain import tokens
from platform_core.domain.errors import IdempotencyInFlight
from platform_core.domain.ids import JobId, TenantId
from platform_core.domain.scheduling import Profile, Requirement, fits
from platform_core.wire.jobs import Queue, SubmitJob, Submitted
from platform_server.assembly.announcer import Announcer
from platform_server.kit import clock
from platform_server.kit.batching import Batch
from platform_server.store import idempotency, jobs, submissions
from platform_server.store.connection import Pool, acquire, retry_deadlock, transaction
from platform_server.store.idempotency import Assignment, Key
from platform_server.store.submissions import Accepted, NewJob

# How often an assignment that is expected within milliseconds is looked for.
_LOOK = timedelta(milliseconds=4)


class Submissions:
    """The first of ``keys`` signs job tokens. ``assign_wait``: how long an answer may wait for an assignment.

    ``offered``: what the polls that are known to wait could run.
    """

    def __init__(
        self,
        pool: Pool,
        announcer: Announcer,
        keys: Mapping[str, bytes],
        *,
        offered: Callable[[], Awaitable[Sequence[Profile]]],
        assign_wait: timedelta,
    ) -> None:
        self._pool = pool
        self._announcer = announcer
        self._offered = offered
        self._keys = keys
        self._assign_wait = assign_wait
        self._batch: Batch[NewJob, Accepted] = Batch(self._flush)
        self._looks: Batch[JobId, Assignment | None] = Batch(self._look)
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
            accepted = await self._batch.add(job)
            if not accepted.replayed:
                counts.accepted(job.type)
                accepted = await self._announced(job, accepted)
        return self._answer(job, accepted)

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
        async def once() -> list[Accepted | Exception]:
            async with transaction(self._pool) as conn:
                return await submissions.submit(conn, items)

        return await retry_deadlock(once)

    async def _announced(self, job: NewJob, accepted: Accepted) -> Accepted:
        """Told to the dispatchers; with its assignment, if one is to be expected and comes in time."""
        near = bool(self._assign_wait) and any(fits(job.requirement, profile) for profile in await self._offered())
        await self._announcer.queued(job.id, job.tenant, job.requirement)
        assignment = await self._assigned_in_time(job.id) if near else None
        if assignment is not None and job.key is not None:
            async with acquire(self._pool) as conn:
                await idempotency.note_told(conn, (job.tenant, job.key), job.id, assignment)
        return replace(accepted, assignment=assignment)

    async def _assigned_in_time(self, job: JobId) -> Assignment | None:
        deadline = asyncio.get_running_loop().time() + self._assign_wait.total_seconds()
        while asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_LOOK.total_seconds())
            if (assignment := await self._looks.add(job)) is not None:
                return assignment
        return None

    async def _look(self, jobs_told: Sequence[JobId]) -> Sequence[Assignment | None]:
        async with acquire(self._pool) as conn:
            assigned = await jobs.first_assignments(conn, jobs_told)
        return [assigned.get(job) for job in jobs_told]

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
