"""Assignments, as the dispatchers tell of them: those of jobs whose submissions wait to tell it in their answers."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import msgspec

from platform_core.domain.ids import AgentId, JobId
from platform_core.domain.scheduling import Profile, Requirement, fits
from platform_core.wire.events import JobsAssigned
from platform_server.store.idempotency import Assignment

_DECODER = msgspec.json.Decoder(JobsAssigned)


class Assignments:
    """``offered``: what the polls that are known to wait could run. ``wait``: how long an answer may be held up."""

    def __init__(self, offered: Callable[[], Awaitable[Sequence[Profile]]], *, wait: timedelta) -> None:
        self._offered = offered
        self._wait = wait
        self._awaited: dict[UUID, asyncio.Future[Assignment]] = {}

    async def near(self, requirement: Requirement) -> bool:
        """May a job that asks for this be assigned in a moment?"""
        return bool(self._wait) and any(fits(requirement, profile) for profile in await self._offered())

    @contextmanager
    def awaited(self, job: JobId) -> Iterator[asyncio.Future[Assignment]]:
        """From before the job is committed: whatever a dispatcher tells of it is heard."""
        told = self._awaited[job] = asyncio.get_running_loop().create_future()
        try:
            yield told
        finally:
            del self._awaited[job]

    async def in_time(self, told: asyncio.Future[Assignment]) -> Assignment | None:
        """The assignment, unless the answer would have to wait too long for it."""
        await asyncio.wait([told], timeout=self._wait.total_seconds())
        return told.result() if told.done() else None

    def heard(self, raw: bytes) -> None:
        """One message of the channel; most of them are about others' jobs."""
        if not self._awaited:
            return
        for assigned in _DECODER.decode(raw).jobs:
            told = self._awaited.get(assigned.job_id)
            if told is not None and not told.done():
                told.set_result(Assignment(AgentId(assigned.agent_id), assigned.assigned_at))
