"""Subscription plans (specification, "Per-Plan Limits"). The database's rows decide; a test compares them."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Plan:
    name: str
    max_concurrent_jobs: int
    max_queue_size: int


PLANS: Final = {
    plan.name: plan
    for plan in (Plan("free", 2, 10), Plan("starter", 5, 50), Plan("pro", 10, 100), Plan("enterprise", 50, 500))
}


def weight(plan: Plan) -> int:
    """A tenant's weight in the schedule is its plan's concurrent jobs."""
    return plan.max_concurrent_jobs
