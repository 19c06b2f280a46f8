"""Per-plan limits."""

import pytest

from platform_core.domain.plans import PLANS, weight
from platform_core.wire.tenants import PlanName


@pytest.mark.parametrize(
    ("name", "max_concurrent_jobs", "max_queue_size"),
    [("free", 2, 10), ("starter", 5, 50), ("pro", 10, 100), ("enterprise", 50, 500)],
)
def test_each_subscription_plan_has_its_limits(name: str, max_concurrent_jobs: int, max_queue_size: int) -> None:
    plan = PLANS[name]
    assert (plan.max_concurrent_jobs, plan.max_queue_size) == (max_concurrent_jobs, max_queue_size)


def test_a_plan_weighs_as_many_jobs_as_it_may_run() -> None:
    assert {name: weight(plan) for name, plan in PLANS.items()} == {
        "free": 2,
        "starter": 5,
        "pro": 10,
        "enterprise": 50,
    }


def test_the_wire_knows_the_same_plans() -> None:
    assert {*PlanName} == PLANS.keys()
