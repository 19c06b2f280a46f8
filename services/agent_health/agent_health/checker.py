"""PlatformAgentHealthChecker: silent agents go offline, those seen again come online; by one acting replica."""

from datetime import timedelta
from typing import Final

from agent_health import brake
from agent_health.reachability import Reachability
from platform_core.wire.events import AgentEventKind
from platform_server.assembly.announcer import Announcer
from platform_server.assembly.workers import Acting
from platform_server.kit import logs
from platform_server.store import presence

log = logs.logger(__name__)

_BATCH: Final = 500


class HealthChecker:
    """Its steps write under the lease, and raise NotActing when another replica has it."""

    def __init__(
        self, acting: Acting, announcer: Announcer, reachability: Reachability, *, stale_after: timedelta
    ) -> None:
        self.acting = acting
        self._announcer = announcer
        self._reachability = reachability
        self._stale_after = stale_after

    async def check(self) -> int:
        """Mark silent agents offline. Silence accrues only while agents could have reached us."""
        if self._reachability.unbroken < self._stale_after:
            return 0
        async with self.acting.transaction() as conn:
            brake.ON.set(await brake.judge(conn, stale_after=self._stale_after))
            gone = await presence.mark_stale_offline(conn, after=self._stale_after, limit=_BATCH)
        for agent in gone:
            log.warning("agent_offline", agent=agent)
        await self._announcer.agents(AgentEventKind.OFFLINE, gone)
        return len(gone)

    async def welcome(self) -> int:
        """Mark online whoever was seen again, by a held poll for one."""
        async with self.acting.transaction() as conn:
            back = await presence.mark_seen_online(conn, within=self._stale_after, limit=_BATCH)
        for agent in back:
            log.info("agent_online", agent=agent)
        await self._announcer.agents(AgentEventKind.ONLINE, back)
        return len(back)
