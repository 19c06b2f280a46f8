"""The jobs that wait, stream by stream."""

from collections import Counter, deque
from itertools import count, islice
from uuid import UUID

from platform_core.domain.ids import JobId, TenantId
from platform_core.domain.scheduling import QueuedJob
from simulation.load import Scenario, Stream


class Queues:
    def __init__(self, scenario: Scenario) -> None:
        self.requirements = [*dict.fromkeys(stream.requirement for stream in scenario.streams)]
        self._plans = scenario.plans
        self._jobs: dict[Stream, deque[QueuedJob]] = {stream: deque() for stream in scenario.streams}
        self._of_tenant: Counter[int] = Counter()
        self._numbers = count(1)
        self._foremost: dict[JobId, Stream] = {}

    def submit(self, stream: Stream, now: float) -> None:
        """One more job; it is refused while the tenant's queue is full."""
        if self._of_tenant[stream.tenant] < self._plans[stream.tenant].max_queue_size:
            job, tenant = JobId(UUID(int=next(self._numbers))), TenantId(UUID(int=stream.tenant))
            requirement = self.requirements.index(stream.requirement)
            self._jobs[stream].append(QueuedJob(job, tenant, stream.base, now, requirement))
            self._of_tenant[stream.tenant] += 1

    def foremost(self, now: float, *, number: int) -> list[QueuedJob]:
        """The first so many of every stream. One more than can be handed out: the rule must see who goes on waiting."""
        found: list[QueuedJob] = []
        self._foremost.clear()
        for stream, jobs in self._jobs.items():
            if stream.gap is None and stream.flows(now):
                self._fill(stream, now, number=number)
            for job in islice(jobs, number):
                self._foremost[job.job] = stream
                found.append(job)
        return found

    def take(self, job: JobId) -> tuple[Stream, QueuedJob]:
        """One of the foremost; a stream's are taken in their order."""
        stream = self._foremost[job]
        taken = self._jobs[stream].popleft()
        assert taken.job == job
        self._of_tenant[stream.tenant] -= 1
        return stream, taken

    def waiting(self) -> list[tuple[int, float]]:
        """The tenant and the time of all that waits; streams that never run dry have nothing that waits."""
        return [(s.tenant, job.queued_at) for s, jobs in self._jobs.items() if s.gap is not None for job in jobs]

    def _fill(self, stream: Stream, now: float, *, number: int) -> None:
        for _ in range(number - len(self._jobs[stream])):
            self.submit(stream, now)
