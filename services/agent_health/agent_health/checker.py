"""PlatformAgentHealthChecker: stale agents go offline, statistics are logged, gauges told; by one acting replica."""

from datetime import timedelta
from typing import Final

from agent_health.heartbeats import Signals
from agent_health.settings import Settings
from platform_core.domain.agents import AgentStatus
from platform_core.wire.events import AgentEvent, AgentEventKind
from platform_server.kit import logs, metrics
from platform_server.signals.streams import Stream
from platform_server.store import presence
from platform_server.store.connection import Pool, acquire
from platform_server.store.leases import Lease, NotActing

log = logs.logger(__name__)

_BATCH: Final = 500


class HealthChecker:
    """Its steps write under the lease; a replica that does not act does nothing and says 0."""

    def __init__(self, pool: Pool, lease: Lease, signals: Signals, settings: Settings) -> None:
        self._pool = pool
        self._lease = lease
        self._signals = signals
        self._stale_after = timedelta(seconds=settings.stale_after_seconds)

    async def renew(self) -> int:
        """Take the lease or keep it."""
        held = self._lease.epoch is not None
        async with acquire(self._pool) as conn:
            acting = await self._lease.renew(conn)
        if held and not acting:
            metrics.LEASES_EXPIRED.labels(self._lease.name).inc()
        return 0

    async def check(self) -> int:
        """Mark silent agents offline, and those that were seen again online; tell both."""
        try:
            async with self._lease.acting(self._pool) as conn:
                gone = await presence.mark_stale_offline(conn, after=self._stale_after, limit=_BATCH)
                back = await presence.mark_seen_online(conn, within=self._stale_after, limit=_BATCH)
        except NotActing:
            return 0
        for agent in gone:
            log.warning("agent_offline", agent=agent)
        events = [AgentEvent(kind=AgentEventKind.OFFLINE, agent_id=agent) for agent in gone]
        events += [AgentEvent(kind=AgentEventKind.ONLINE, agent_id=agent) for agent in back]
        await self._signals.append(Stream.AGENTS, events)
        return len(events) if len(events) >= _BATCH else 0

    async def log_statistics(self) -> int:
        """Aggregate statistics as one log line."""
        if self._lease.epoch is None:
            return 0
        async with acquire(self._pool) as conn:
            counts = await presence.counts(conn)
        by_status = {status.value: sum(c.agents for c in counts if c.status is status) for status in AgentStatus}
        online = [c for c in counts if c.status is AgentStatus.ONLINE]
        log.info("agent_statistics", agents=by_status, online_slots=sum(c.slots for c in online))
        return 0

    async def tell(self) -> int:
        """The gauges of agents and bans; every status is always present."""
        if self._lease.epoch is None:
            metrics.AGENT_STATUS.clear()
            return 0
        async with acquire(self._pool) as conn:
            counts = await presence.counts(conn)
            metrics.BANNED_IPS.set(await presence.banned(conn))
        for platform, kind in ((True, "platform"), (False, "tenant")):
            for status in AgentStatus:
                number = sum(c.agents for c in counts if c.platform is platform and c.status is status)
                metrics.AGENT_STATUS.labels(kind, status.value).set(number)
        return 0
