"""Agent health's settings; variables are ``PLATFORM_<NAME>``. Defaults are the specification's."""

from typing import Annotated

from msgspec import Meta

from platform_core.domain import agents, jobs
from platform_server.kit.settings import Seconds, ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """Durations in seconds."""

    check_interval_seconds: Seconds = 30.0
    statistics_interval_seconds: Seconds = 300.0
    # How often agents that only poll are found to be back.
    return_interval_seconds: Seconds = 5.0
    gauges_interval_seconds: Seconds = 10.0
    probe_interval_seconds: Seconds = 5.0
    # How long after the acting replica's last word another one takes over; it says so three times as often.
    lease_seconds: Seconds = 15.0
    stale_after_seconds: Seconds = agents.STALE_AFTER.total_seconds()
    next_heartbeat_seconds: Seconds = agents.HEARTBEAT_INTERVAL.total_seconds()
    max_retries: Annotated[int, Meta(ge=0, le=100)] = jobs.MAX_RETRIES
    # The gateway's health route, as agents reach it: while it does not answer nobody is silent. Empty: not probed.
    gateway_health_url: Annotated[str, Meta(pattern=r"^(http://.+)?$")] = ""
