"""Signs of life: what was heard since the last step is written in one statement, however many requests told of it."""

import time
from collections.abc import Iterable, Mapping, Sequence
from heapq import nsmallest
from typing import Final

from platform_core.domain.ids import AgentId
from platform_server.kit.batching import Batch
from platform_server.store import polls, presence
from platform_server.store.connection import Pool, acquire

# A sign of life of a moment ago is as good as one of now: agents are stale after a minute.
_FRESH_SECONDS: Final = 5.0
# A step writes no more signs of held polls than these: thousands in one statement would hold up all else.
_HELD_AT_ONCE: Final = 1000
# So long it is remembered what an agent offered.
_REMEMBERED_SECONDS: Final = 60.0


class Signs:
    """What this process heard and wrote. Other dispatchers write on their own; two notes do no harm."""

    def __init__(self, pool: Pool, *, held_every: float) -> None:
        """``held_every``: so many seconds after its last sign a poll that is held is one."""
        self._pool = pool
        self._held_every = held_every
        self._written: dict[AgentId, float] = {}
        self._offered: dict[AgentId, int] = {}
        self._heard: dict[AgentId, int | None] = {}
        self._new: Batch[tuple[AgentId, int], None] = Batch(self._write_new)

    def heard(self, agents: Iterable[AgentId]) -> None:
        """They said something. It is written by the next step, unless the last sign is fresh."""
        fresh = time.monotonic() - _FRESH_SECONDS
        for agent in agents:
            if self._written.get(agent, fresh) <= fresh:
                self._heard.setdefault(agent, None)

    async def offers(self, agent: AgentId, profile: int) -> None:
        """It polls. A profile that is not the one that it offered before is written at once: its slots count there."""
        if self._offered.get(agent) == profile:
            self.heard([agent])
            if agent in self._heard:
                self._heard[agent] = profile
            return
        self._heard.pop(agent, None)
        await self._new.add((agent, profile))

    async def write(self) -> int:
        """A step. Returns 0: what is heard from now on can wait for the next one."""
        heard, self._heard = self._heard, {}
        offers = {agent: profile for agent, profile in heard.items() if profile is not None}
        try:
            await self._write_offers(offers)
            if said := heard.keys() - offers.keys():
                async with acquire(self._pool) as conn:
                    await presence.note_seen(conn, said)
                self._written |= dict.fromkeys(said, time.monotonic())
        except Exception:
            self._heard = heard | self._heard
            raise
        return 0

    async def held(self, offers: Mapping[AgentId, int]) -> None:
        """A step: a held poll is a sign of life for as long as it is held. The longest silent come first."""
        due = time.monotonic() - self._held_every
        silent = [agent for agent in offers if self._written.get(agent, due) <= due]
        if len(silent) > _HELD_AT_ONCE:
            silent = nsmallest(_HELD_AT_ONCE, silent, key=lambda agent: self._written.get(agent, due))
        await self._write_offers({agent: offers[agent] for agent in silent})

    async def forget_old(self) -> int:
        """A step: the memory follows the agents that are there."""
        oldest = time.monotonic() - _REMEMBERED_SECONDS
        self._written = {agent: at for agent, at in self._written.items() if at >= oldest}
        self._offered = {agent: profile for agent, profile in self._offered.items() if agent in self._written}
        return 0

    async def _write_new(self, offers: Sequence[tuple[AgentId, int]]) -> list[None]:
        await self._write_offers(dict(offers))
        return [None] * len(offers)

    async def _write_offers(self, offers: Mapping[AgentId, int]) -> None:
        if not offers:
            return
        async with acquire(self._pool) as conn:
            await polls.note(conn, offers)
        self._written |= dict.fromkeys(offers, time.monotonic())
        self._offered |= offers
