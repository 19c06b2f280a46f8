"""Heartbeats: signs of life in group commits, and what the agent must hear back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from agent_health.omissions import Omissions
from platform_core.domain.attempts import AttemptOutcome
from platform_core.domain.ids import AgentId, JobId
from platform_core.domain.jobs import JobStatus
from platform_core.wire.events import AgentEventKind, JobEventKind
from platform_core.wire.protocol import Heartbeat
from platform_server.assembly.announcer import Announcer
from platform_server.kit import logs, metrics
from platform_server.kit.batching import Batch
from platform_server.store import attempts, presence, sweeps
from platform_server.store.connection import Pool, acquire, retry_deadlock, transaction
from platform_server.store.presence import Beat, HeldJob
from platform_server.store.sweeps import Lost

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """What the agent hears: the jobs to stop, and the database's time."""

    at: datetime
    cancelled: Sequence[JobId]
    lost: Sequence[JobId]


@dataclass(frozen=True, slots=True)
class _Noted:
    at: datetime
    held: Sequence[HeldJob]


class Heartbeats:
    """``max_retries``: how often a job that agents lose is tried again."""

    def __init__(self, pool: Pool, announcer: Announcer, omissions: Omissions, *, max_retries: int) -> None:
        self._pool = pool
        self._announcer = announcer
        self._omissions = omissions
        self._max_retries = max_retries
        self._beats: Batch[Beat, _Noted] = Batch(self._note)

    async def beat(self, agent: AgentId, body: Heartbeat) -> Told:
        """Note the sign of life. A heartbeat that names no jobs at all says nothing about them."""
        noted = await self._beats.add(
            Beat(
                agent=agent,
                cpu_percent=body.cpu_percent,
                memory_percent=body.memory_percent,
                disk_percent=body.disk_percent,
                version=body.version,
            )
        )
        cancelled = [held for held in noted.held if held.status is JobStatus.CANCELLED]
        if body.running_jobs is None:
            return Told(noted.at, [held.job for held in cancelled], [])
        named = list(dict.fromkeys(JobId(job) for job in body.running_jobs))
        await self._confirm(agent, [held.job for held in cancelled if held.job not in named])
        await self._bring_back(agent, [h for h in noted.held if h.status is JobStatus.RUNNING and h.job not in named])
        ended = await self._ended(agent, [job for job in named if job not in {held.job for held in noted.held}])
        stopped = {held.job for held in cancelled} | {j for j, status in ended.items() if status is JobStatus.CANCELLED}
        return Told(
            noted.at,
            [job for job in named if job in stopped],
            [job for job, status in ended.items() if status is None],
        )

    async def _confirm(self, agent: AgentId, jobs: Sequence[JobId]) -> None:
        """The agent does not run these cancelled jobs any more: their slots are free."""
        if jobs:
            async with transaction(self._pool) as conn:
                await attempts.confirm_cancelled(conn, agent, jobs)

    async def _bring_back(self, agent: AgentId, left_out: Sequence[HeldJob]) -> None:
        """What the agent does not run, twice in a row, it has lost."""
        lost = [
            Lost(held.job, held.attempt, held.retry_count, AttemptOutcome.LOST, "the agent does not run it any more")
            for held in self._omissions.lost(agent, left_out)
        ]
        if not lost:
            return
        async with transaction(self._pool) as conn:
            settled = await sweeps.settle(conn, lost, max_retries=self._max_retries)
        for a in settled.ended:
            metrics.ATTEMPTS.labels(AttemptOutcome.LOST).inc()
            log.info("attempt_lost", job=a.job, tenant=a.tenant, agent=agent, attempt=a.attempt, reason=lost[0].reason)
        # The agent need not be told: it is the one who does not run these jobs.
        await self._announcer.requeued(settled.requeued)
        self._announcer.attempted(JobEventKind.FAILED, settled.failed)

    async def _ended(self, agent: AgentId, jobs: Sequence[JobId]) -> dict[JobId, JobStatus | None]:
        """What became of jobs that the agent says it runs and does not hold; None: it has lost them."""
        if not jobs:
            return {}
        async with acquire(self._pool) as conn:
            known = await presence.ended_at(conn, agent, jobs)
        return {job: known.get(job) for job in jobs}

    async def _note(self, beats: Sequence[Beat]) -> Sequence[_Noted]:
        back, at, held = await retry_deadlock(lambda: self._write(beats))
        await self._announcer.agents(AgentEventKind.ONLINE, back)
        return [_Noted(at, [job for job in held if job.agent == beat.agent]) for beat in beats]

    async def _write(self, beats: Sequence[Beat]) -> tuple[set[AgentId], datetime, list[HeldJob]]:
        async with transaction(self._pool) as conn:
            back = await presence.note_heartbeats(conn, beats)
            held = await presence.jobs_of(conn, [beat.agent for beat in beats])
            return back, await presence.now(conn), held
