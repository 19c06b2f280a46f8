"""Heartbeats: signs of life in group commits, and what the agent must hear back."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from msgspec import Struct

from platform_core.domain.attempts import AttemptOutcome
from platform_core.domain.ids import AgentId, JobId
from platform_core.domain.jobs import JobStatus
from platform_core.wire.events import AgentEvent, AgentEventKind, JobQueued
from platform_core.wire.protocol import Heartbeat
from platform_server.kit.batching import Batch
from platform_server.signals.streams import Stream
from platform_server.signals.wakeups import Channel
from platform_server.store import attempts, presence
from platform_server.store.attempts import Ended
from platform_server.store.connection import Pool, transaction
from platform_server.store.presence import Beat, HeldJob

# A job that was acknowledged and is left out of so many heartbeats in a row is lost by its agent.
_MISSES = 2


@dataclass(frozen=True, slots=True)
class Told:
    """What the platform knows of an agent's jobs."""

    cancelled: Sequence[JobId]
    lost: Sequence[JobId]


@dataclass(frozen=True, slots=True)
class Signals:
    """Redis, bound to its connection; nothing of it raises."""

    publish: Callable[[Channel, Sequence[Struct]], Awaitable[bool]]
    append: Callable[[Stream, Sequence[Struct]], Awaitable[bool]]


class Heartbeats:
    """Counts in memory how often a running job was left out: an agent's heartbeats come to one replica or another, and
    a count that is split only delays the finding; the silence of the job's deadline ends it in any case."""

    def __init__(self, pool: Pool, signals: Signals) -> None:
        self._pool = pool
        self._signals = signals
        self._misses: Counter[tuple[AgentId, JobId, int]] = Counter()
        self._beats: Batch[Beat, list[HeldJob]] = Batch(self._flush)

    async def beat(self, agent: AgentId, body: Heartbeat) -> Told:
        """Note the sign of life; free and bring back what the agent says, by leaving it out, that it does not run."""
        held = await self._beats.add(
            Beat(agent, body.cpu_percent, body.memory_percent, body.disk_percent, body.version)
        )
        if body.running_jobs is None:
            return Told([h.job for h in held if h.status is JobStatus.CANCELLED], [])
        running = {JobId(job) for job in body.running_jobs}
        await self._compare(agent, held, running)
        cancelled = [h.job for h in held if h.status is JobStatus.CANCELLED and h.job in running]
        return Told(cancelled, sorted(running - {h.job for h in held}))

    async def _compare(self, agent: AgentId, held: Sequence[HeldJob], running: set[JobId]) -> None:
        stopped = [h.job for h in held if h.status is JobStatus.CANCELLED and h.job not in running]
        forgotten = [h for h in held if h.status is JobStatus.RUNNING and self._missed(h, running)]
        if not stopped and not forgotten:
            return
        async with transaction(self._pool) as conn:
            await attempts.confirm_cancelled(conn, agent, stopped)
            ended = [
                Ended(h.job, h.attempt, AttemptOutcome.LOST, "the agent does not run it any more", retries_spent=1)
                for h in forgotten
            ]
            requeued = await attempts.requeue(conn, ended)
        await self._signals.publish(
            Channel.JOB_QUEUE,
            [
                JobQueued(
                    capabilities=tuple(sorted(job.requirement.capabilities)),
                    tool=job.requirement.tool,
                    preferred_region=job.requirement.preferred_region,
                )
                for job in requeued
            ],
        )

    def _missed(self, held: HeldJob, running: set[JobId]) -> bool:
        key = (held.agent, held.job, held.attempt)
        if held.job in running:
            self._misses.pop(key, None)
            return False
        self._misses[key] += 1
        if self._misses[key] < _MISSES:
            return False
        del self._misses[key]
        return True

    async def _flush(self, beats: Sequence[Beat]) -> Sequence[list[HeldJob]]:
        async with transaction(self._pool) as conn:
            back = await presence.note_heartbeats(conn, beats)
            held = await presence.jobs_of(conn, [beat.agent for beat in beats])
        online = [AgentEvent(kind=AgentEventKind.ONLINE, agent_id=agent) for agent in back]
        await self._signals.append(Stream.AGENTS, online)
        return [[job for job in held if job.agent == beat.agent] for beat in beats]
