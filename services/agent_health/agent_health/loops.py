"""The service's steps at their intervals. Those of the checker do nothing while another replica acts."""

from collections.abc import Sequence
from datetime import timedelta

from agent_health.checker import HealthChecker
from agent_health.reachability import Reachability
from agent_health.settings import Settings
from agent_health.statistics import Statistics
from platform_server.kit.loops import Loop
from platform_server.store.leases import while_acting


def loops_of(
    checker: HealthChecker, statistics: Statistics, reachability: Reachability, settings: Settings
) -> Sequence[Loop]:
    return [
        Loop("lease", checker.acting.renew, checker.acting.renewed_every),
        Loop("health-check", while_acting(checker.check), timedelta(seconds=settings.check_interval_seconds)),
        Loop("returns", while_acting(checker.welcome), timedelta(seconds=settings.return_interval_seconds)),
        Loop("statistics", statistics.log, timedelta(seconds=settings.statistics_interval_seconds)),
        Loop("gauges", statistics.tell, timedelta(seconds=settings.gauges_interval_seconds)),
        Loop("probe", reachability.probe, timedelta(seconds=settings.probe_interval_seconds)),
    ]
