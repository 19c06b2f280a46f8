"""Hands every test the workloads that it is about."""

import pytest
from rendering import RENDERED, workloads


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """``workload``: every one of every rendering. ``ours``: those of the base. ``service``: the five."""
    renderings = {"workload": RENDERED, "ours": ("base",), "service": ("base",)}
    for fixture in renderings.keys() & set(metafunc.fixturenames):
        found = [one for one in workloads(*renderings[fixture]) if fixture != "service" or one.is_service]
        metafunc.parametrize(fixture, found, ids=[f"{one.rendering}-{one.name}" for one in found])
