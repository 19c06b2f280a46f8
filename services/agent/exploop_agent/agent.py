"""The agent at work: it polls, runs what it is given, beats, listens, and drains when it is told to stop."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec
from httpx_sse import ServerSentEvent

from exploop_agent import inventory, job, log
from exploop_agent.api import Away, JobCredentials, Refused, pause
from exploop_agent.enrolment import KeyFile
from exploop_agent.job import Cancelled, Workshop
from exploop_agent.settings import VERSION
from platform_core.wire import protocol

_BEAT_SECONDS = 30.0


class KeyRefused(Exception):
    """The platform does not take our key any more."""


class Agent:
    """``run`` ends when ``stop`` was called and everything is finished, released or delivered."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._api = workshop.api
        self._settings = workshop.settings
        self._jobs: dict[UUID, asyncio.Task[None]] = {}
        self._credentials: dict[UUID, JobCredentials] = {}
        self._stopping = asyncio.Event()
        self._freed = asyncio.Event()
        self._held = asyncio.Event()

    def stop(self) -> None:
        """Take nothing new; finish or give back what is running."""
        self._stopping.set()

    async def run(self) -> None:
        """Raises KeyRefused."""
        leftovers = asyncio.create_task(self._deliver_leftovers())
        helpers = [asyncio.create_task(work) for work in (self._beat(), self._listen())]
        try:
            await self._poll()
            await self._drain()
        finally:
            for task in (*helpers, leftovers):
                task.cancel()
            await asyncio.gather(*helpers, leftovers, return_exceptions=True)

    async def _poll(self) -> None:
        """Ask for as many jobs as there are free slots, for ever; an answer is awaited until we are told to stop."""
        attempt = 0
        while not self._stopping.is_set():
            free = self._settings.max_concurrent - len(self._jobs)
            if free <= 0:
                await self._first_of(self._freed)
                continue
            asked = self._settings.poll.total_seconds() * random.uniform(0.85, 1.0)  # noqa: S311 - jitter
            polling = asyncio.create_task(self._api.poll(max_jobs=free, timeout=asked))
            if not await self._unless_stopped(polling):
                return
            try:
                for polled in polling.result():
                    self._start(polled)
                attempt = 0
            except Away as away:
                log.warning("platform_away", why=away)
                await self._rest(pause(attempt, asked=away.retry_after))
                attempt += 1
            except Refused as refused:
                if refused.status == 401:
                    raise KeyRefused from refused
                log.warning("poll_refused", code=refused.code)
                await self._rest(pause(6))

    def _start(self, polled: protocol.PolledJob) -> None:
        task = asyncio.create_task(self._carry_out(polled))
        self._jobs[polled.id] = task
        self._credentials[polled.id] = JobCredentials(polled.id, polled.auth_token)
        self._held.set()
        task.add_done_callback(lambda _: self._finished(polled.id))

    def _finished(self, number: UUID) -> None:
        self._jobs.pop(number, None)
        self._credentials.pop(number, None)
        self._freed.set()
        if not self._jobs:
            self._held.clear()

    async def _carry_out(self, polled: protocol.PolledJob) -> None:
        """One job; when it was taken from us, the platform is told that its slot here is free."""
        try:
            await job.run(polled, self._workshop)
        except Cancelled as cancelled:
            log.info("job_stopped", job=polled.id, why=cancelled)
            await self._confirm_stopped(JobCredentials(polled.id, polled.auth_token))
        except asyncio.CancelledError:
            log.info("job_stopped", job=polled.id, why="told to stop")
            await asyncio.shield(self._confirm_stopped(JobCredentials(polled.id, polled.auth_token)))

    async def _confirm_stopped(self, credentials: JobCredentials) -> None:
        """A release puts a job of ours back, and confirms that a cancelled one has stopped."""
        with suppress(Away, Refused):
            await self._api.release(credentials)

    async def _beat(self) -> None:
        """Heartbeats while we hold jobs; a held poll says enough while we do not."""
        seconds = _BEAT_SECONDS
        inventory.usage(self._settings.state)
        while True:
            await self._held.wait()
            await asyncio.sleep(seconds * random.uniform(0.8, 1.0))  # noqa: S311 - jitter
            if not self._jobs:
                continue
            body = protocol.Heartbeat(
                running_jobs=tuple(self._jobs), version=VERSION, **inventory.usage(self._settings.state)
            )
            with suppress(Away, Refused):
                answer = await self._api.heartbeat(body)
                seconds = float(answer.next_heartbeat_seconds)
                self._cancel(*answer.cancelled_jobs, *answer.lost_jobs)

    async def _listen(self) -> None:
        """Server-sent events, open only while we hold a job: cancelled, lost, drain."""
        attempt = 0
        while True:
            await self._held.wait()
            try:
                await self._hear()
                attempt = 0
            except (Away, Refused) as away:
                log.warning("events_away", why=away)
                await asyncio.sleep(pause(attempt))
                attempt += 1

    async def _hear(self) -> None:
        async with self._api.events() as events:
            listening = asyncio.ensure_future(self._hear_all(events))
            idle = asyncio.ensure_future(self._until_idle())
            try:
                await asyncio.wait([listening, idle], return_when=asyncio.FIRST_COMPLETED)
                if listening.done():
                    listening.result()
                    # The server ended it: do not come back in step with everybody else.
                    await asyncio.sleep(pause(2))
            finally:
                for task in (listening, idle):
                    task.cancel()
                await asyncio.gather(listening, idle, return_exceptions=True)

    async def _hear_all(self, events: AsyncIterator[ServerSentEvent]) -> None:
        async for event in events:
            match event.event:
                case protocol.EventKind.CANCELLED | protocol.EventKind.LOST:
                    self._cancel(msgspec.json.decode(event.data, type=protocol.JobEventBody).job_id)
                case protocol.EventKind.DRAIN:
                    log.info("drain_asked")
                case _:
                    pass

    async def _until_idle(self) -> None:
        while self._jobs:
            self._freed.clear()
            await self._freed.wait()

    def _cancel(self, *numbers: UUID) -> None:
        """Stop these jobs; their scanners die with their tasks."""
        for number in numbers:
            task = self._jobs.get(number)
            if task is not None:
                task.cancel()

    async def _drain(self) -> None:
        """Let jobs finish for a while, then stop them and give them back."""
        log.info("draining", jobs=len(self._jobs))
        if self._jobs:
            await asyncio.wait(list(self._jobs.values()), timeout=self._settings.drain.total_seconds())
        left = list(self._jobs.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _deliver_leftovers(self) -> None:
        """Results that an earlier run could not deliver."""
        outbox = self._workshop.outbox
        await asyncio.gather(*(outbox.deliver(credentials) for credentials in outbox.waiting()))

    async def _unless_stopped(self, work: asyncio.Task[tuple[protocol.PolledJob, ...]]) -> bool:
        """Wait for the work; false when we were told to stop first, and the work is given up."""
        stopping = asyncio.create_task(self._stopping.wait())
        both: list[asyncio.Task[Any]] = [work, stopping]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if work.done():
            return True
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return False

    async def _first_of(self, freed: asyncio.Event) -> None:
        """Until a slot is free, or we are told to stop."""
        freed.clear()
        waits = [asyncio.ensure_future(event.wait()) for event in (freed, self._stopping)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    async def _rest(self, seconds: float) -> None:
        """Sleep, unless we are told to stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()


async def forget_key(workshop: Workshop) -> None:
    """The stored key is of no use any more."""
    KeyFile(workshop.settings.state).forget()
