"""The jobs that this agent holds: from the poll's answer until their result is delivered or they are given back."""

import asyncio
from contextlib import suppress
from uuid import UUID

from exploop_agent import job, log
from exploop_agent.api import Away, JobCredentials, Refused
from exploop_agent.job import Cancelled, Workshop
from platform_core.wire import protocol


class Hands:
    """``holding`` is set while there is a job."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._jobs: dict[UUID, asyncio.Task[None]] = {}
        self._delivering: set[UUID] = set()
        self._let_go = asyncio.Event()
        self.holding = asyncio.Event()

    @property
    def numbers(self) -> tuple[UUID, ...]:
        return tuple(self._jobs)

    def take(self, polled: protocol.PolledJob) -> None:
        """Carry it out, beside the others."""
        self._jobs[polled.id] = task = asyncio.create_task(self._carry_out(polled))
        self.holding.set()
        task.add_done_callback(lambda _: self._done(polled.id))

    def stop(self, *numbers: UUID) -> None:
        """These were cancelled, or are another's: their scanners die. A result on its way is answered with a no."""
        for number in numbers:
            if number in self._jobs and number not in self._delivering:
                self._jobs[number].cancel()

    async def one_let_go(self) -> None:
        """Until a job is done with."""
        self._let_go.clear()
        await self._let_go.wait()

    async def empty(self) -> None:
        """Until no job is left."""
        while self._jobs:
            await self.one_let_go()

    async def drop(self) -> None:
        """Stop what runs and give it back; results that are not delivered stay in the outbox."""
        left = list(self._jobs.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _done(self, number: UUID) -> None:
        self._jobs.pop(number, None)
        self._delivering.discard(number)
        self._let_go.set()
        if not self._jobs:
            self.holding.clear()

    async def _carry_out(self, polled: protocol.PolledJob) -> None:
        credentials = JobCredentials(polled.id, polled.auth_token)
        try:
            result = await job.run(polled, self._workshop)
        except Cancelled as cancelled:
            log.info("job_stopped", job=polled.id, why=cancelled)
            await self._give_back(credentials)
        except asyncio.CancelledError:
            log.info("job_stopped", job=polled.id, why="told to stop")
            await self._give_back(credentials)
        else:
            self._delivering.add(polled.id)
            await self._workshop.outbox.send(credentials, result)

    async def _give_back(self, credentials: JobCredentials) -> None:
        """A release puts a job of ours back, and confirms that a cancelled one has stopped."""
        with suppress(Away, Refused):
            await self._workshop.api.release(credentials)
