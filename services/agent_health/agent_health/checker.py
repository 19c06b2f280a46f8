"""PlatformAgentHealthChecker: silent agents go offline, those seen again come online; by one acting replica."""

from datetime import timedelta
from typing import Final

from agent_health import brake
from agent_health.announcements import Announcer
from agent_health.reachability import Reachability
from platform_server.kit import logs, metrics
from platform_server.store import presence
from platform_server.store.connection import Pool
from platform_server.store.leases import Lease

log = logs.logger(__name__)

_BATCH: Final = 500


class HealthChecker:
    """Its steps write under the lease, and raise NotActing when another replica has it."""

    def __init__(
        self, pool: Pool, lease: Lease, announcer: Announcer, reachability: Reachability, *, stale_after: timedelta
    ) -> None:
        self._pool = pool
        self._lease = lease
        self._announcer = announcer
        self._reachability = reachability
        self._stale_after = stale_after

    async def renew(self) -> int:
        """Take the lease or keep it."""
        before = self._lease.held
        try:
            await self._lease.renew(self._pool)
        finally:
            if self._lease.held is not before:
                log.info("lease_taken" if self._lease.held else "lease_lost", worker=self._lease.name)
            if before and not self._lease.held:
                metrics.LEASES_EXPIRED.labels(self._lease.name).inc()
        return 0

    async def check(self) -> int:
        """Mark silent agents offline. Silence accrues only while agents could have reached us."""
        if self._reachability.unbroken < self._stale_after:
            return 0
        async with self._lease.acting(self._pool) as conn:
            brake.ON.set(await brake.judge(conn, stale_after=self._stale_after))
            gone = await presence.mark_stale_offline(conn, after=self._stale_after, limit=_BATCH)
        for agent in gone:
            log.warning("agent_offline", agent=agent)
        await self._announcer.offline(gone)
        return len(gone)

    async def welcome(self) -> int:
        """Mark online whoever was seen again, by a held poll for one."""
        async with self._lease.acting(self._pool) as conn:
            back = await presence.mark_seen_online(conn, within=self._stale_after, limit=_BATCH)
        for agent in back:
            log.info("agent_online", agent=agent)
        await self._announcer.online(back)
        return len(back)
