"""A cell on a virtual clock: submissions, claims by the rule, and jobs that end. The same every time for a seed."""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from random import Random
from uuid import UUID

from platform_core.domain.ids import AgentId, TenantId
from platform_core.domain.rule import hand_out
from platform_core.domain.scheduling import Decision, HandOut, Offer, Snapshot
from simulation.books import Books
from simulation.load import Scenario, Stream
from simulation.outcome import Outcome, Run
from simulation.queues import Queues

Rule = Callable[[Snapshot], Decision]

PATIENCE_SECONDS = 30.0


@dataclass
class Agent:
    id: AgentId
    profile: int
    slots: int
    running: int = 0
    waiting_since: float = 0.0

    @property
    def free(self) -> int:
        return self.slots - self.running

    def offer(self) -> Offer:
        return Offer(self.id, self.profile, self.running, self.slots, self.free, self.waiting_since)


class Cell:
    """A scenario under a rule. ``run`` may be called again, to go on."""

    def __init__(self, scenario: Scenario, *, rule: Rule = hand_out, seed: int = 0) -> None:
        self.now = 0.0
        self.books = Books()
        self._rule = rule
        # Each stream draws for itself: what others do changes none of its jobs.
        self._draw = {stream: Random(f"{seed} {n}") for n, stream in enumerate(scenario.streams)}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._runs: list[Run] = []
        self._queues = Queues(scenario)
        self._weights = scenario.weights
        self._held: dict[TenantId, Counter[int]] = defaultdict(Counter)
        self._profiles = dict(enumerate(dict.fromkeys(fleet.profile for fleet in scenario.fleets)))
        self._agents = _enrol(scenario)
        for stream in scenario.streams:
            self._at(stream.starts, partial(self._submit, stream))

    def run(self, *, until: float) -> Outcome:
        while self._events and self._events[0][0] <= until:
            self.now = self._events[0][0]
            while self._events and self._events[0][0] == self.now:
                heapq.heappop(self._events)[2]()
            self._claim()
        self.now = until
        return Outcome(self.now, self._weights, self._runs, self._queues.waiting())

    def _at(self, time: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time, next(self._order), event))

    def _submit(self, stream: Stream) -> None:
        if stream.gap is not None and stream.flows(self.now):
            self._queues.submit(stream, self.now)
            self._at(self.now + stream.gap(self._draw[stream]), partial(self._submit, stream))

    def _claim(self) -> None:
        free = sum(agent.free for agent in self._agents.values())
        if free == 0 or not (queued := self._queues.foremost(self.now, number=free + 1)):
            return
        decision = self._rule(
            Snapshot(
                now=self.now,
                patience=PATIENCE_SECONDS,
                profiles=self._profiles,
                requirements=dict(enumerate(self._queues.requirements)),
                slots=self._slots(),
                virtual_times=self.books.virtual_times,
                tenants={
                    t: self.books.tenant(t, weight=self._weights[t.int], held=self._held[t])
                    for t in {*(job.tenant for job in queued), *self._held}
                },
                queued=queued,
                offers=[agent.offer() for agent in self._agents.values() if agent.free],
            )
        )
        self.books.note(decision)
        for handed_out in decision.handed_out:
            self._start(handed_out)

    def _slots(self) -> Counter[int]:
        slots: Counter[int] = Counter()
        for agent in self._agents.values():
            slots[agent.profile] += agent.slots
        return slots

    def _start(self, h: HandOut) -> None:
        stream, job = self._queues.take(h.job)
        ends = self.now + stream.length(self._draw[stream])
        run = Run(stream.tenant, h.profile, stream.base, job.queued_at, self.now, ends)
        self._runs.append(run)
        self._agents[h.agent].running += 1
        self._held[h.tenant][h.profile] += 1
        self._at(run.ends, partial(self._end, h, run))

    def _end(self, h: HandOut, run: Run) -> None:
        agent = self._agents[h.agent]
        agent.running, agent.waiting_since = agent.running - 1, self.now
        self._held[h.tenant][h.profile] -= 1
        self.books.correct(
            h.tenant,
            h.profile,
            weight=self._weights[run.tenant],
            charged=h.cost,
            held_seconds=run.ends - run.starts,
        )


def _enrol(scenario: Scenario) -> dict[AgentId, Agent]:
    profiles = [*dict.fromkeys(fleet.profile for fleet in scenario.fleets)]
    kinds = [fleet for fleet in scenario.fleets for _ in range(fleet.agents)]
    agents = [Agent(AgentId(UUID(int=n)), profiles.index(f.profile), f.slots) for n, f in enumerate(kinds, start=1)]
    return {agent.id: agent for agent in agents}
