"""Jobs that agents leave out of their heartbeats: two in a row, and the agent has lost the job.

Kept in this process' memory. With several replicas an agent's heartbeats come to one or another, so two in a row are
two in a row here, not long apart: one that went elsewhere delays the finding. What is never found ends with the
attempt's deadline.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from platform_core.domain.ids import AgentId, JobId
from platform_server.store.presence import HeldJob

# Heartbeats further apart than so many intervals are not in a row.
_IN_A_ROW = 2.5


@dataclass(frozen=True, slots=True)
class _LeftOut:
    attempts: frozenset[tuple[JobId, int]]
    until: float


class Omissions:
    """``interval``: how often an agent is told to send a heartbeat."""

    def __init__(self, interval: timedelta) -> None:
        self._remembered = (interval * _IN_A_ROW).total_seconds()
        self._latest: dict[AgentId, _LeftOut] = {}

    def lost(self, agent: AgentId, left_out: Sequence[HeldJob]) -> list[HeldJob]:
        """Those that this heartbeat leaves out, and that the one before it left out too."""
        now = time.monotonic()
        before = self._latest.pop(agent, None)
        known = before.attempts if before is not None and before.until >= now else frozenset()
        twice = [held for held in left_out if (held.job, held.attempt) in known]
        once = frozenset((held.job, held.attempt) for held in left_out if held not in twice)
        if once:
            self._latest[agent] = _LeftOut(once, now + self._remembered)
        return twice

    async def forget_old(self) -> int:
        """A step: the memory follows the agents that are there."""
        now = time.monotonic()
        self._latest = {agent: left_out for agent, left_out in self._latest.items() if left_out.until >= now}
        return 0
