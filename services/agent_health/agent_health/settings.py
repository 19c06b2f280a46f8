"""Agent health's settings; variables are ``PLATFORM_<NAME>``. Defaults are the specification's."""

from platform_core.domain import agents
from platform_server.kit.settings import Seconds, ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """Durations in seconds."""

    check_interval_seconds: Seconds = 30.0
    statistics_interval_seconds: Seconds = 300.0
    gauges_interval_seconds: Seconds = 10.0
    lease_seconds: Seconds = 15.0
    stale_after_seconds: Seconds = agents.STALE_AFTER.total_seconds()
    next_heartbeat_seconds: Seconds = agents.HEARTBEAT_INTERVAL.total_seconds()
