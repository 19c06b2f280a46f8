"""Signs of life: which were noted a moment ago, and need not be written again."""

import time
from collections.abc import Collection
from typing import Final

from platform_core.domain.ids import AgentId

# A sign of life of a moment ago is as good as one of now: agents are stale after a minute.
_FRESH_SECONDS: Final = 5.0


class Signs:
    """What this process noted. Other dispatchers note on their own; two notes do no harm."""

    def __init__(self) -> None:
        self._noted: dict[AgentId, tuple[float, int | None]] = {}

    def stale(self, agents: Collection[AgentId]) -> set[AgentId]:
        """Those whose last noted sign is old."""
        fresh = time.monotonic() - _FRESH_SECONDS
        return {agent for agent in agents if agent not in self._noted or self._noted[agent][0] < fresh}

    def offered_anew(self, agent: AgentId, profile: int) -> bool:
        """Must a poll with this profile be noted: is the last sign old, or was the profile another one?"""
        return bool(self.stale([agent])) or self._noted[agent][1] != profile

    def noted(self, agents: Collection[AgentId], *, profile: int | None = None) -> None:
        """They were written down just now; with the profile that they offer, if it was a poll."""
        now = time.monotonic()
        for agent in agents:
            before = self._noted.get(agent)
            self._noted[agent] = (now, profile if profile is not None else before and before[1])

    async def forget_old(self) -> int:
        """A step: the memory follows the agents that are there."""
        fresh = time.monotonic() - _FRESH_SECONDS
        self._noted = {agent: noted for agent, noted in self._noted.items() if noted[0] >= fresh}
        return 0
