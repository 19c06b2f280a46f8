"""The intervals and limits of "PlatformQueueWorker" as they are when nobody sets them; and that one replica acts."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from httpx import ASGITransport, AsyncClient

from platform_core.wire.events import AgentEvent
from platform_server.kit.serve import Runtime
from platform_server.kit.settings import ServiceSettings
from platform_server.signals.streams import Reader
from platform_server.store.connection import Pool
from platform_server.store.leases import NotActing
from queue_maintenance.app import create_app
from queue_maintenance.gauges import Gauges
from queue_maintenance.loops import loops_of
from queue_maintenance.settings import Settings
from queue_maintenance.worker import QueueWorker

NewWorker = Callable[[str], QueueWorker]


@pytest.fixture
def every(worker: QueueWorker, events: Reader[AgentEvent], pool: Pool, settings: Settings) -> dict[str, timedelta]:
    return {loop.name: loop.every for loop in loops_of(worker, Gauges(pool, worker.acting), events, settings)}


def test_recovery_runs_every_minute(every: dict[str, timedelta]) -> None:
    assert every["recovery"] == timedelta(minutes=1)


def test_expiry_runs_every_5_minutes(every: dict[str, timedelta]) -> None:
    assert every["expiry"] == timedelta(minutes=5)


def test_priority_update_runs_every_30_seconds(every: dict[str, timedelta]) -> None:
    assert every["priority-update"] == timedelta(seconds=30)


def test_jobs_that_are_over_are_archived_every_second(every: dict[str, timedelta]) -> None:
    assert every["archive"] == timedelta(seconds=1)


def test_retention_runs_every_hour(every: dict[str, timedelta]) -> None:
    assert every["retention"] == timedelta(hours=1)


def test_reconciliation_runs_every_minute(every: dict[str, timedelta]) -> None:
    assert every["reconciliation"] == timedelta(minutes=1)


def test_slots_of_cancelled_jobs_are_looked_at_every_2_seconds(every: dict[str, timedelta]) -> None:
    assert every["confirmations"] == timedelta(seconds=2)


def test_gauges_are_told_every_10_seconds(every: dict[str, timedelta]) -> None:
    assert every["gauges"] == timedelta(seconds=10)


def test_the_lease_of_15_seconds_is_renewed_every_5(every: dict[str, timedelta], settings: Settings) -> None:
    assert (settings.lease_seconds, every["lease"]) == (15, timedelta(seconds=5))


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("ack_deadline_seconds", 60),
        ("silence_seconds", 60),
        ("cancel_confirmation_seconds", 60),
        ("queue_max_age_seconds", 86_400),
        ("archive_after_seconds", 60),
        ("job_retention_days", 30),
        ("idempotency_seconds", 86_400),
        ("max_retries", 3),
    ],
)
def test_a_limit_has_its_published_default(settings: Settings, name: str, default: float) -> None:
    assert getattr(settings, name) == default


async def test_of_two_replicas_one_acts(world: Any, new_worker: NewWorker) -> None:
    first, second = new_worker("first"), new_worker("second")
    await first.acting.renew()
    await second.acting.renew()
    held = await world.held(await world.agent(), acknowledged=False)
    await world.execute("UPDATE commands SET assigned_at = clock_timestamp() - interval '61 s'")
    steps = [second.recover, second.expire, second.refresh_priorities, second.archive_in_batches, second.retain]
    for step in (*steps, second.free_unconfirmed):
        with pytest.raises(NotActing):
            await step()
    assert (await world.job(held.job))["status"] == "assigned"
    assert await first.recover() == 1


async def test_a_leader_that_was_paused_past_its_lease_changes_nothing(world: Any, new_worker: NewWorker) -> None:
    paused, other = new_worker("paused"), new_worker("other")
    await paused.acting.renew()
    held = await world.held(await world.agent(), acknowledged=False)
    await world.execute("UPDATE commands SET assigned_at = clock_timestamp() - interval '61 s'")
    await world.execute("UPDATE worker_leases SET expires_at = clock_timestamp()")
    for _ in range(2):
        with pytest.raises(NotActing):
            await paused.recover()
        assert (await world.job(held.job))["status"] == "assigned"
        await other.acting.renew()
    assert await other.recover() == 1


async def test_the_app_acts_while_it_runs_and_gives_the_lease_up_at_its_end(settings: Settings, pool: Pool) -> None:
    runtime = Runtime()
    app = create_app(settings, runtime)
    acts = "SELECT expires_at > clock_timestamp() FROM worker_leases"
    async with app.router.lifespan_context(app):
        assert runtime.health.postgres is not None
        assert await runtime.health.postgres()
        assert runtime.health.redis is not None
        assert await runtime.health.redis()
        assert not any(loop.stalled for loop in runtime.health.loops)
        await next(loop for loop in runtime.health.loops if loop.name == "lease").step()
        assert await pool.fetchval(acts)
    assert not await pool.fetchval(acts)


async def test_it_has_no_public_routes(settings: Settings) -> None:
    transport = ASGITransport(create_app(settings, Runtime()))
    async with AsyncClient(transport=transport, base_url="http://worker") as client:
        answered = await client.get("/")
    assert (answered.status_code, answered.json()["code"]) == (404, "not_found")


def test_the_readme_has_every_setting_of_its_own_with_its_default() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    common = ServiceSettings.__struct_fields__
    for setting in (field for field in msgspec.structs.fields(Settings) if field.name not in common):
        default = f"{setting.default:g}" if setting.default != "" else "none"
        assert f"| `PLATFORM_{setting.name.upper()}` | {default} |" in readme
