"""Holds polls and claims for those that may have work, in rounds: one claim in flight, whoever comes joins the next."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from math import ceil
from typing import Final

from dispatcher.idle import Idle, Poll
from platform_core.domain.ids import AgentId
from platform_core.domain.scheduling import Requirement
from platform_server.kit import logs, metrics
from platform_server.store.claims import Claimed, HandedOut, Offer

log = logs.logger(__name__)

_MAX_BATCH: Final = 256

# Polls end on ticks: thousands that are held cost ten wake-ups of the process a second for that, not one each.
_TICKS_PER_SECOND: Final = 10

# Somebody must look: one who could run such a job, or one of this profile.
Wake = Requirement | int


class Broker:
    """``claim`` hands out jobs to offers; ``put_back`` takes those whose poll has gone meanwhile.

    A poll looks when it comes, if nobody like it waits, and when it is woken. ``work`` is set while a round is due.
    """

    def __init__(
        self,
        claim: Callable[[Sequence[Offer]], Awaitable[Claimed]],
        put_back: Callable[[Sequence[HandedOut]], None],
    ) -> None:
        self.work = asyncio.Event()
        self._claim = claim
        self._put_back = put_back
        self._held: dict[Poll, None] = {}
        self._newcomers: deque[Poll] = deque()
        self._idle = Idle()
        self._unable: dict[Poll, None] = {}
        self._wakes: deque[Wake] = deque()
        self._look_again = False
        self._in_flight: Collection[Poll] = ()
        self._left_waiting = False
        self._draining = False

    @property
    def held(self) -> Collection[Poll]:
        return self._held.keys()

    @property
    def waiting(self) -> Collection[Poll]:
        """Those held whose agents could take a job, as far as we know."""
        return self._held.keys() - self._unable.keys()

    async def wait(self, poll: Poll, *, seconds: float) -> Sequence[HandedOut]:
        """The poll's jobs; none when the time is up or the broker drains.

        It looks at the queue at once, unless another of its profile waits for want of jobs: it is woken like that one.
        """
        if self._draining:
            return ()
        self._held[poll] = None
        metrics.HELD_POLLS.set(len(self._held))
        if seconds > 0 and self._idle.somebody_of(poll.number):
            # One like it has looked, found nothing, and was not woken since: there is nothing for this one either.
            poll.looking = False
            self._idle.add(poll)
        else:
            self._newcomers.append(poll)
            self.work.set()
        loop = asyncio.get_running_loop()
        timer = loop.call_at(end_of_poll(loop.time(), seconds), _time_is_up, poll)
        try:
            return await poll.answer
        except asyncio.CancelledError:
            if not poll.answer.cancelled():
                self._put_back(poll.answer.result())
            raise
        finally:
            timer.cancel()
            self._held.pop(poll, None)
            self._unable.pop(poll, None)
            metrics.HELD_POLLS.set(len(self._held))

    def job_queued(self, requirement: Requirement) -> None:
        """One job wakes one fitting poll, after the claim in flight: by then it is known who still waits."""
        self._wake(requirement)

    def slots_freed(self) -> None:
        """A job ended: if others were left waiting (for a cap, say), they may go now."""
        if self._left_waiting:
            self.look_again()

    def look_again(self) -> None:
        """One poll of each profile looks at the queue, whatever was found before."""
        self._look_again = True
        self.work.set()

    def end_polls_of(self, agent: AgentId) -> None:
        """Answer the agent's polls with nothing, now."""
        for poll in [poll for poll in self._held if poll.agent == agent]:
            poll.settle(())

    def drain(self) -> None:
        """Answer every poll now, and hold none any more. A claim in flight still delivers what it claimed."""
        self._draining = True
        for poll in [poll for poll in self._held if poll not in self._in_flight]:
            poll.settle(())

    async def step(self) -> int:
        """A round: claim for everybody who must look. Returns how many did."""
        batch = self._next_batch()
        if batch:
            await self._round(batch)
        return len(batch)

    def _next_batch(self) -> Mapping[Poll, Wake]:
        batch: dict[Poll, Wake] = {}
        while self._newcomers and len(batch) < _MAX_BATCH:
            poll = self._newcomers.popleft()
            if not poll.answer.done():
                batch[poll] = poll.number
        if self._look_again:
            self._look_again = False
            for poll in self._unable:
                self._idle.add(poll)
            self._unable.clear()
            self._wakes.extend(self._idle.profiles())
        while self._wakes and len(batch) < _MAX_BATCH:
            wake = self._wakes.popleft()
            woken = self._woken_by(wake)
            if woken is not None:
                woken.looking = True
                batch[woken] = wake
        return batch

    def _woken_by(self, wake: Wake) -> Poll | None:
        if isinstance(wake, int):
            return self._idle.take_of(wake)
        poll = self._idle.take_fitting(wake)
        metrics.WAKEUPS.labels("yes" if poll is not None else "no").inc()
        return poll

    async def _round(self, batch: Mapping[Poll, Wake]) -> None:
        self._in_flight = batch.keys()
        claimed = await self._try_claim(self._in_flight)
        self._in_flight = ()
        self._left_waiting = claimed.left_waiting
        orphans = _deliver(batch, claimed.handed_out)
        if orphans:
            self._put_back(orphans)
        for poll, wake in batch.items():
            self._after_look(poll, wake, claimed)

    def _after_look(self, poll: Poll, wake: Wake, claimed: Claimed) -> None:
        poll.looking = False
        if poll.answer.done():
            # Where one was served there may be more than wake-ups told of: two look, and so on until one finds nothing.
            if claimed.left_waiting:
                self._wake(poll.number, poll.number)
        elif poll.time_is_up or self._draining:
            poll.settle(())
        elif poll.agent in claimed.unable:
            self._unable[poll] = None
            # What it was woken for is for another.
            if claimed.left_waiting:
                self._wake(wake)
        else:
            self._idle.add(poll)

    async def _try_claim(self, polls: Collection[Poll]) -> Claimed:
        """A claim that fails hands out nothing; the sweep will look again."""
        try:
            claimed = await self._claim([Offer(p.agent, p.number, p.max_jobs, p.since) for p in polls])
        except Exception:
            metrics.CLAIMS.labels("failed").inc()
            log.exception("claim_failed", polls=len(polls))
            return Claimed((), left_waiting=self._left_waiting)
        metrics.CLAIMS.labels("handed_out" if claimed.handed_out else "empty").inc()
        metrics.CLAIM_BATCH.observe(len(polls))
        return claimed

    def _wake(self, *wakes: Wake) -> None:
        self._wakes.extend(wakes)
        self.work.set()


def end_of_poll(now: float, seconds: float) -> float:
    """When its time is up, by the same clock as ``now``: on the next tick, unless it is short."""
    end = now + seconds
    return ceil(end * _TICKS_PER_SECOND) / _TICKS_PER_SECOND if seconds >= 1 else end


def _time_is_up(poll: Poll) -> None:
    """A claim that is due or in flight is waited for, so that what it brings is not lost."""
    if poll.looking:
        poll.time_is_up = True
    else:
        poll.settle(())


def _deliver(batch: Collection[Poll], handed_out: Sequence[HandedOut]) -> list[HandedOut]:
    """Give each poll its jobs; returns those that nobody waits for any more."""
    jobs: dict[AgentId, list[HandedOut]] = defaultdict(list)
    for one in handed_out:
        jobs[one.agent].append(one)
    for poll in batch:
        mine = jobs[poll.agent]
        if mine and not poll.answer.done():
            poll.settle(mine[: poll.max_jobs])
            jobs[poll.agent] = mine[poll.max_jobs :]
    return [one for left in jobs.values() for one in left]
