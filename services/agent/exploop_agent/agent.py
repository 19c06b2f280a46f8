"""The agent at work: it polls, runs what it is given, beats, listens, and drains when it is told to stop."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec
from httpx_sse import ServerSentEvent

from exploop_agent import inventory, log
from exploop_agent.api import Away, Refused, pause
from exploop_agent.hands import Hands
from exploop_agent.job import Workshop
from exploop_agent.settings import VERSION
from exploop_agent.stopping import Stopped, Stopping
from platform_core.wire import protocol

_BEAT_SECONDS = 30.0
# Tries after which the pause between two early, empty answers (a drain, ours or a dispatcher's) grows no more: 4 s.
_MAX_EARLY = 3


class KeyRefused(Exception):
    """The platform does not take our key any more."""


class Agent:
    """``run`` ends when it was told to stop and everything is finished, given back or kept."""

    def __init__(self, workshop: Workshop, stopping: Stopping) -> None:
        self._api = workshop.api
        self._settings = workshop.settings
        self._outbox = workshop.outbox
        self._stopping = stopping
        self._hands = Hands(workshop)

    async def run(self) -> None:
        """Raises KeyRefused; jobs that run are dropped then, for the platform takes nothing from us."""
        leftovers = asyncio.create_task(self._outbox.send_leftovers())
        helpers = [asyncio.create_task(work) for work in (self._beat(), self._listen())]
        working = asyncio.create_task(self._work())
        try:
            # A helper ends by an error only, which must not go unnoticed.
            done, _ = await asyncio.wait([working, *helpers], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (working, *helpers, leftovers):
                task.cancel()
            await asyncio.gather(working, *helpers, leftovers, self._hands.drop(), return_exceptions=True)

    async def _work(self) -> None:
        with suppress(Stopped):
            await self._poll()
        log.info("draining", jobs=len(self._hands.numbers))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain.total_seconds()):
                await self._hands.empty()
        await self._hands.drop()

    async def _poll(self) -> None:
        """Ask for as many jobs as there are free slots, for ever. Raises Stopped or KeyRefused."""
        away_for, early = 0, 0
        while True:
            free = self._settings.max_concurrent - len(self._hands.numbers)
            if free <= 0:
                await self._stopping.interrupts(self._hands.one_let_go())
                continue
            asked = self._settings.poll.total_seconds() * random.uniform(0.85, 1.0)  # noqa: S311 - jitter
            begun = asyncio.get_running_loop().time()
            try:
                jobs = await self._stopping.interrupts(self._api.poll(max_jobs=free, timeout=asked))
            except Away as away:
                log.warning("platform_away", why=away)
                await self._stopping.rest(pause(away_for, asked=away.retry_after))
                away_for += 1
                continue
            except Refused as refused:
                if refused.status == 401:
                    raise KeyRefused from refused
                log.warning("poll_refused", why=refused)
                await self._stopping.rest(pause(6))
                continue
            for polled in jobs:
                self._hands.take(polled)
            away_for = 0
            early = early + 1 if not jobs and asyncio.get_running_loop().time() - begun < asked / 2 else 0
            if early:
                await self._stopping.rest(pause(min(early - 1, _MAX_EARLY)))

    async def _beat(self) -> None:
        """Heartbeats while we hold jobs; a held poll says enough while we do not."""
        seconds = _BEAT_SECONDS
        inventory.usage(self._settings.state)
        while True:
            await self._hands.holding.wait()
            await asyncio.sleep(seconds * random.uniform(0.8, 1.0))  # noqa: S311 - jitter
            if not self._hands.numbers:
                continue
            usage = inventory.usage(self._settings.state)
            body = protocol.Heartbeat(running_jobs=self._hands.numbers, version=VERSION, **usage)
            with suppress(Away, Refused):
                answer = await self._api.heartbeat(body)
                seconds = max(1.0, answer.next_heartbeat_seconds)
                self._hands.stop(*answer.cancelled_jobs, *answer.lost_jobs)

    async def _listen(self) -> None:
        """Server-sent events, open only while we hold a job: cancelled, lost, drain."""
        attempt = 0
        while True:
            await self._hands.holding.wait()
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
            idle = asyncio.ensure_future(self._hands.empty())
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
                    # A platform of another version may say more than we can read.
                    with suppress(msgspec.DecodeError):
                        self._hands.stop(msgspec.json.decode(event.data, type=protocol.JobEventBody).job_id)
                case protocol.EventKind.DRAIN:
                    log.info("drain_asked")
                case _:
                    pass
