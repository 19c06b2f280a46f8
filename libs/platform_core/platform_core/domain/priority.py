"""The published priority (specification, "Job Queue with Fair Scheduling"): base + age bonus."""

from datetime import timedelta
from typing import Final

from platform_core.domain.jobs import Priority
from platform_core.domain.scheduling import AGE_POINT_SECONDS, MAX_AGE_BONUS

_BASE: Final = {Priority.CRITICAL: 1000, Priority.HIGH: 750, Priority.NORMAL: 500, Priority.LOW: 250}


def base_priority(priority: Priority) -> int:
    return _BASE[priority]


def age_bonus(waited: timedelta) -> int:
    """Ten points a minute, fractional minutes floored to whole points, at most 500."""
    return min(max(int(waited.total_seconds() / AGE_POINT_SECONDS), 0), MAX_AGE_BONUS)


def queue_priority(priority: Priority, *, waited: timedelta) -> int:
    return base_priority(priority) + age_bonus(waited)
