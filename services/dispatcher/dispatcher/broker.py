"""Holds polls, wakes those that may have work, and claims for them: one claim in flight, the rest joins the next."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from platform_core.domain.ids import AgentId
from platform_core.domain.scheduling import Profile, Requirement, fits
from platform_server.kit import logs, metrics
from platform_server.store.claims import Claimed, HandedOut, Offer

log = logs.logger(__name__)

_MAX_BATCH = 256


@dataclass(eq=False, slots=True)
class Poll:
    """A held poll. ``answer`` is set once: with jobs, or with none when it must end early."""

    agent: AgentId
    number: int
    profile: Profile
    max_jobs: int
    since: float = field(default_factory=time.time)
    answer: asyncio.Future[Sequence[HandedOut]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Broker:
    """``claim`` hands out jobs to offers; ``put_back`` returns those whose poll has gone meanwhile."""

    def __init__(
        self,
        claim: Callable[[Sequence[Offer]], Awaitable[Claimed]],
        put_back: Callable[[Sequence[HandedOut]], Awaitable[None]],
    ) -> None:
        self._claim = claim
        self._put_back = put_back
        self._held: dict[Poll, None] = {}
        self._woken: dict[Poll, None] = {}
        self._in_flight: Sequence[Poll] = ()
        self._work = asyncio.Event()
        self._left_waiting = False
        self._draining = False

    @property
    def held(self) -> Iterable[Poll]:
        return self._held.keys()

    async def wait(self, poll: Poll, *, seconds: float) -> Sequence[HandedOut]:
        """The poll's jobs; none when the time is up or the broker drains. Looks at the queue once, at once."""
        if self._draining:
            return ()
        self._held[poll] = None
        metrics.HELD_POLLS.set(len(self._held))
        self._wake([poll])
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(poll.answer)
        except TimeoutError:
            return await self._withdraw(poll)
        except asyncio.CancelledError:
            await self._put_back(await self._withdraw(poll))
            raise
        finally:
            self._held.pop(poll, None)
            self._woken.pop(poll, None)
            metrics.HELD_POLLS.set(len(self._held))

    def job_queued(self, requirement: Requirement) -> None:
        """One job wakes one fitting poll: its own region's first, then the least capable, then the longest wait."""
        fitting = [poll for poll in self._held if poll not in self._woken and fits(requirement, poll.profile)]
        metrics.WAKEUPS.labels("yes" if fitting else "no").inc()
        if fitting:
            self._wake([min(fitting, key=lambda poll: _suits(poll, requirement))])

    def slots_freed(self, count: int) -> None:
        """Jobs ended: if others were left waiting (for a cap, say), that many polls look again."""
        if self._left_waiting:
            self._wake(list(self._held)[:count])

    def look_again(self) -> None:
        """A sweep: one poll of each profile looks at the queue."""
        by_profile: dict[int, list[Poll]] = {}
        for poll in self._held:
            by_profile.setdefault(poll.number, []).append(poll)
        self._wake(random.choice(polls) for polls in by_profile.values())  # noqa: S311 - which one does not matter

    def end_polls_of(self, agent: AgentId) -> None:
        """Answer the agent's polls with nothing, now."""
        for poll in [poll for poll in self._held if poll.agent == agent]:
            _settle(poll, ())

    def drain(self) -> None:
        """Answer every poll now, and hold none any more. A claim in flight still delivers what it claimed."""
        self._draining = True
        self._woken.clear()
        for poll in [poll for poll in self._held if poll not in self._in_flight]:
            _settle(poll, ())

    async def run(self) -> None:
        """For ever: claim for whoever is woken."""
        while True:
            await self._work.wait()
            self._work.clear()
            while self._woken:
                await self._claim_once()

    async def _claim_once(self) -> None:
        woken = list(self._woken)[:_MAX_BATCH]
        for poll in woken:
            del self._woken[poll]
        self._in_flight = batch = [poll for poll in woken if not poll.answer.done()]
        claimed = await self._try_claim(batch) if batch else Claimed((), left_waiting=self._left_waiting)
        self._in_flight = ()
        self._left_waiting = claimed.left_waiting
        orphans = self._deliver(batch, claimed.handed_out)
        if orphans:
            await self._put_back(orphans)
        if self._draining:
            self.drain()
        elif claimed.left_waiting:
            self._wake(list(self._held)[: len(claimed.handed_out)])

    async def _try_claim(self, batch: Sequence[Poll]) -> Claimed:
        """A claim that fails hands out nothing; the sweep will look again."""
        try:
            claimed = await self._claim([Offer(p.agent, p.number, p.max_jobs, p.since) for p in batch])
        except Exception:
            metrics.CLAIMS.labels("failed").inc()
            log.exception("claim_failed", polls=len(batch))
            return Claimed((), left_waiting=False)
        metrics.CLAIMS.labels("handed_out" if claimed.handed_out else "empty").inc()
        metrics.CLAIM_BATCH.observe(len(batch))
        return claimed

    def _deliver(self, batch: Sequence[Poll], handed_out: Sequence[HandedOut]) -> list[HandedOut]:
        """Give each poll its jobs; returns those that nobody waits for any more."""
        left = list(handed_out)
        for poll in batch:
            mine = [h for h in left if h.agent == poll.agent][: poll.max_jobs]
            if mine and _settle(poll, mine):
                left = [h for h in left if h not in mine]
        return left

    async def _withdraw(self, poll: Poll) -> Sequence[HandedOut]:
        """Leave; a claim that is in flight for this poll is waited for, so that what it brings is not lost."""
        self._held.pop(poll, None)
        self._woken.pop(poll, None)
        while poll in self._in_flight and not poll.answer.done():
            await asyncio.wait([poll.answer], timeout=0.02)
        _settle(poll, ())
        return poll.answer.result()

    def _wake(self, polls: Iterable[Poll]) -> None:
        for poll in polls:
            self._woken[poll] = None
            self._work.set()


def _suits(poll: Poll, requirement: Requirement) -> tuple[bool, int, float]:
    elsewhere = requirement.preferred_region is not None and requirement.preferred_region != poll.profile.region
    return (elsewhere, poll.profile.breadth, poll.since)


def _settle(poll: Poll, jobs: Sequence[HandedOut]) -> bool:
    if poll.answer.done():
        return False
    poll.answer.set_result(jobs)
    return True
