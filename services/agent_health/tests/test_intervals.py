"""The intervals and limits of "PlatformAgentHealthChecker" as they are when nobody sets them."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from agent_health import brake
from agent_health.app import create_app
from agent_health.settings import Settings
from platform_server.kit.serve import Runtime
from platform_server.kit.settings import ServiceSettings

Every = dict[str, timedelta]


@pytest.fixture
async def every(settings: Settings) -> Every:
    """The interval of each loop of the running app."""
    runtime = Runtime()
    app = create_app(settings, runtime)
    async with app.router.lifespan_context(app):
        return {loop.name: loop.every for loop in runtime.health.loops}


async def test_the_health_check_runs_every_30_seconds(every: Every) -> None:
    assert every["health-check"] == timedelta(seconds=30)


async def test_statistics_are_logged_every_5_minutes(every: Every) -> None:
    assert every["statistics"] == timedelta(minutes=5)


async def test_agents_that_came_back_are_looked_for_every_5_seconds(every: Every) -> None:
    assert every["returns"] == timedelta(seconds=5)


async def test_gauges_are_told_every_10_seconds(every: Every) -> None:
    assert every["gauges"] == timedelta(seconds=10)


async def test_the_gateway_is_probed_every_5_seconds(every: Every) -> None:
    assert every["probe"] == timedelta(seconds=5)


async def test_the_lease_of_15_seconds_is_renewed_every_5(every: Every, settings: Settings) -> None:
    assert (settings.lease_seconds, every["lease"]) == (15, timedelta(seconds=5))


async def test_the_limiter_is_cleaned_up_every_5_minutes(every: Every) -> None:
    assert every["clean-up"] == timedelta(minutes=5)


@pytest.mark.parametrize(
    ("name", "default"), [("stale_after_seconds", 60), ("next_heartbeat_seconds", 30), ("max_retries", 3)]
)
def test_a_limit_has_its_published_default(settings: Settings, name: str, default: float) -> None:
    assert getattr(settings, name) == default


def test_the_brake_is_for_20_agents_55_percent_120_seconds_and_10_minutes() -> None:
    assert (brake.LEAST_AGENTS, brake.SHARE) == (20, 0.55)
    assert (timedelta(seconds=120), timedelta(minutes=10)) == (brake.WINDOW, brake.LASTS)


async def test_every_interval_is_a_setting() -> None:
    assert set(Settings.__struct_fields__) >= {
        "check_interval_seconds",
        "statistics_interval_seconds",
        "return_interval_seconds",
        "gauges_interval_seconds",
        "probe_interval_seconds",
        "lease_seconds",
    }


def test_the_readme_has_every_setting_of_its_own_with_its_default() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    common = ServiceSettings.__struct_fields__
    for setting in (field for field in msgspec.structs.fields(Settings) if field.name not in common):
        default = f"{setting.default:g}" if setting.default != "" else "none"
        assert f"| `PLATFORM_{setting.name.upper()}` | {default} |" in readme
