"""Held polls that have looked at the queue and wait to be woken: by profile, the longest wait first."""

import asyncio
import heapq
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from platform_core.domain.ids import AgentId
from platform_core.domain.scheduling import Profile, Requirement, fits
from platform_server.store.claims import HandedOut


@dataclass(eq=False, slots=True)
class Poll:
    """A held poll. ``answer`` is set once: with jobs, or with none when it must end early.

    ``looking``: a claim for it is due or in flight. ``time_is_up``: that claim is its last.
    """

    agent: AgentId
    number: int
    profile: Profile
    max_jobs: int
    since: float = field(default_factory=time.time)
    answer: asyncio.Future[Sequence[HandedOut]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    looking: bool = True
    time_is_up: bool = False

    def settle(self, jobs: Sequence[HandedOut]) -> None:
        """Answer it, if it still waits."""
        if not self.answer.done():
            self.answer.set_result(jobs)


class Idle:
    """A wake-up costs a look at each profile, however many polls are held. Polls answered elsewhere fall out."""

    def __init__(self) -> None:
        self._waits: dict[int, list[tuple[float, int, Poll]]] = {}
        self._serial = count()

    def add(self, poll: Poll) -> None:
        self._sift(poll.number)
        heapq.heappush(self._waits.setdefault(poll.number, []), (poll.since, next(self._serial), poll))

    def somebody_of(self, number: int) -> bool:
        """Does somebody of that profile wait?"""
        self._sift(number)
        return number in self._waits

    def profiles(self) -> list[int]:
        """Those that somebody waits with."""
        return [poll.number for poll in self._firsts()]

    def take_fitting(self, requirement: Requirement) -> Poll | None:
        """One that could run the job: its own region's first, then the least capable, then the longest wait."""
        fitting = (poll for poll in self._firsts() if fits(requirement, poll.profile))
        best = min(fitting, key=lambda poll: _suits(poll, requirement), default=None)
        return self.take_of(best.number) if best is not None else None

    def take_of(self, number: int) -> Poll | None:
        """The one of that profile that has waited longest."""
        self._sift(number)
        return heapq.heappop(self._waits[number])[-1] if number in self._waits else None

    def _firsts(self) -> Iterator[Poll]:
        for number in list(self._waits):
            self._sift(number)
            if number in self._waits:
                yield self._waits[number][0][-1]

    def _sift(self, number: int) -> None:
        """Drop polls that were answered meanwhile from the front; they are older than most, so few stay behind."""
        waits = self._waits.get(number, [])
        while waits and waits[0][-1].answer.done():
            heapq.heappop(waits)
        if not waits:
            self._waits.pop(number, None)


def _suits(poll: Poll, requirement: Requirement) -> tuple[bool, int, float]:
    elsewhere = requirement.preferred_region is not None and requirement.preferred_region != poll.profile.region
    return (elsewhere, poll.profile.breadth, poll.since)
