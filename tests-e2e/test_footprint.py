"""How much memory each process takes, and how soon a service is ready."""

import time

import psutil
import pytest

from platform_stack.stack import Stack

MEGABYTE = 2**20
SERVICES = ["registration", "job_intake", "dispatcher", "agent_health", "queue_maintenance"]


def resident(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / MEGABYTE


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_takes_less_than_120_mb(fragile_stack: Stack, name: str) -> None:
    assert resident(fragile_stack.services[name][0].process.pid) < 120


def test_an_agent_takes_less_than_90_mb(stack: Stack) -> None:
    assert all(resident(agent.pid) < 90 for agent in stack.agents)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_ready_within_three_seconds_of_its_start(fragile_stack: Stack, name: str) -> None:
    """The best of a few: a machine that is busy with something else says nothing about the service."""
    took = min(seconds_to_ready(fragile_stack, name) for _ in range(2))
    assert took < 3


def seconds_to_ready(stack: Stack, name: str) -> float:
    service = stack.restart(name)
    return time.time() - psutil.Process(service.process.pid).create_time()
