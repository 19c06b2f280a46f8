"""Statistics of the fleet, as a log line and as gauges; told by the acting replica only."""

from collections import Counter
from typing import Final

from prometheus_client import Gauge

from agent_health import brake
from platform_core.domain.agents import AgentStatus
from platform_core.domain.jobs import JobStatus
from platform_server.assembly.workers import Acting
from platform_server.kit import logs, metrics
from platform_server.store import presence, statistics
from platform_server.store.connection import Pool, acquire

log = logs.logger(__name__)

AGENTS = Gauge("platform_agents", "Platform agents by status and region.", ["status", "region"])

_KINDS: Final = {True: "platform", False: "tenant"}


class Statistics:
    def __init__(self, pool: Pool, acting: Acting) -> None:
        self._pool = pool
        self._acting = acting

    async def log(self) -> int:
        """A step: the aggregate statistics as one line."""
        if not self._acting.held:
            return 0
        async with acquire(self._pool) as conn:
            fleet = [group for group in await statistics.agents(conn) if group.platform]
            queued = (await statistics.open_jobs(conn)).get(JobStatus.QUEUED)
            banned = await statistics.banned(conn)
        able = [group for group in fleet if group.status is AgentStatus.ONLINE]
        capacity, running = sum(g.slots for g in able), sum(g.running for g in able)
        log.info(
            "agent_statistics",
            agents=sum(group.agents for group in fleet),
            by_status=_summed(fleet),
            capacity=capacity,
            running=running,
            free=capacity - running,
            queued=queued.jobs if queued else 0,
            oldest_wait_seconds=round(queued.oldest_seconds) if queued else 0,
            banned_ips=banned,
        )
        return 0

    async def tell(self) -> int:
        """A step: the gauges. Every status is always there, so that an alert on none online can fire."""
        if not self._acting.held:
            metrics.AGENT_STATUS.clear()
            AGENTS.clear()
            metrics.BANNED_IPS.set(0)
            brake.ON.set(0)
            return 0
        async with acquire(self._pool) as conn:
            groups = await statistics.agents(conn)
            metrics.BANNED_IPS.set(await statistics.banned(conn))
            brake.ON.set(await presence.brake_left(conn) is not None)
        AGENTS.clear()
        for group in groups:
            if group.platform:
                AGENTS.labels(group.status.value, group.region).set(group.agents)
        for platform, kind in _KINDS.items():
            for status, number in _summed([g for g in groups if g.platform is platform]).items():
                metrics.AGENT_STATUS.labels(kind, status).set(number)
        return 0


def _summed(groups: list[statistics.Agents]) -> dict[str, int]:
    """How many agents in each status; every status is there."""
    numbers = Counter({status.value: 0 for status in AgentStatus})
    for group in groups:
        numbers[group.status.value] += group.agents
    return dict(numbers)
