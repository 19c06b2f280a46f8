"""A submission: judged, given a token, committed with its neighbours, told to the dispatchers."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta

import msgspec

from job_intake import validation, views
from platform_core.domain import tokens
from platform_core.domain.ids import JobId, TenantId
from platform_core.domain.jobs import JobStatus
from platform_core.domain.scheduling import Requirement
from platform_core.wire.jobs import Queue, SubmitJob, Submitted
from platform_server.assembly.announcer import Announcer
from platform_server.kit import clock
from platform_server.kit.batching import Batch
from platform_server.store import jobs
from platform_server.store.connection import Pool, acquire, retry_deadlock, transaction
from platform_server.store.jobs import Accepted, NewJob

# How often an assignment that is expected within milliseconds is looked for.
_LOOK = timedelta(milliseconds=4)


class Submissions:
    """The first of ``keys`` signs job tokens. ``assign_wait``: how long an answer may wait for an assignment.

    ``somebody_fits``: is a poll known to wait that could run such a job?
    """

    def __init__(
        self,
        pool: Pool,
        announcer: Announcer,
        keys: Mapping[str, bytes],
        *,
        somebody_fits: Callable[[Requirement], Awaitable[bool]],
        assign_wait: timedelta,
    ) -> None:
        self._pool = pool
        self._announcer = announcer
        self._somebody_fits = somebody_fits
        self._keys = keys
        self._assign_wait = assign_wait
        self._batch: Batch[NewJob, Accepted] = Batch(self._flush)

    async def submit(
        self,
        tenant: TenantId,
        asked: SubmitJob,
        *,
        key: str | None,
        traceparent: str | None,
        retry_of: JobId | None = None,
    ) -> Submitted:
        """Queue a valid job. Raises QueueFull, IdempotencyMismatch, TenantUnknown or Unavailable."""
        job = self._new_job(tenant, asked, key=key, traceparent=traceparent, retry_of=retry_of)
        accepted = await self._batch.add(job)
        assigned = False
        if not accepted.replayed:
            fitting = self._assign_wait and await self._somebody_fits(job.requirement)
            await self._announcer.queued(job.id, job.tenant, job.requirement)
            assigned = bool(fitting) and await self._assigned_in_time(job.id)
        return await self._answer(tenant, accepted, assigned=assigned)

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
            body_hash=canonical_hash(asked),
        )

    async def _flush(self, items: Sequence[NewJob]) -> Sequence[Accepted | Exception]:
        async def once() -> list[Accepted | Exception]:
            async with transaction(self._pool) as conn:
                return await jobs.submit(conn, items)

        return await retry_deadlock(once)

    async def _assigned_in_time(self, job: JobId) -> bool:
        deadline = asyncio.get_running_loop().time() + self._assign_wait.total_seconds()
        while asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_LOOK.total_seconds())
            async with acquire(self._pool) as conn:
                if await jobs.is_assigned(conn, job):
                    return True
        return False

    async def _answer(self, tenant: TenantId, accepted: Accepted, *, assigned: bool) -> Submitted:
        async with acquire(self._pool) as conn:
            job = await jobs.find(conn, tenant, accepted.id)
        position = 0 if assigned else accepted.position
        return Submitted(
            job=views.job(job, position=position),
            auth_token=self._token(accepted.id),
            status=JobStatus.ASSIGNED if assigned else JobStatus.QUEUED,
            queue=Queue(position=position),
        )

    def _token(self, job: JobId) -> str:
        kid, key = next(iter(self._keys.items()))
        return tokens.job_token(job, 1, kid=kid, key=key)


def canonical_hash(asked: SubmitJob) -> str:
    """SHA-256 of the body as JSON with sorted keys: spelling and order of fields do not make it another body."""
    body = msgspec.json.decode(msgspec.json.encode(asked))
    return hashlib.sha256(msgspec.json.encode(body, order="sorted")).hexdigest()
