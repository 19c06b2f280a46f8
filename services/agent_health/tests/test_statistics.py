"""Statistics: the log line, and the gauges that alerts stand on; told by the acting replica only."""

import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from agent_health.statistics import Statistics
from platform_server.assembly.workers import Acting
from platform_server.kit.clock import new_id
from platform_server.store.connection import Pool
from platform_server.store.leases import Lease

STATUSES = ("online", "offline", "draining", "disabled")


def replica(pool: Pool, name: str) -> Acting:
    return Acting(pool, Lease("agent-health", name, timedelta(seconds=15)))


@pytest.fixture
async def acting(pool: Pool) -> AsyncIterator[Statistics]:
    """The statistics of the acting replica; afterwards it tells nothing any more."""
    lease = replica(pool, "first")
    await lease.renew()
    yield Statistics(pool, lease)
    await lease.give_up()
    await Statistics(pool, lease).tell()


@pytest.fixture
async def fleet(world: Any) -> None:
    """Three online, one of which runs a job, two offline, one draining, one disabled; one agent of a tenant's own."""
    names = ["busy", "online-1", "online-2", "offline-1", "offline-2", "draining", "disabled"]
    agents = {name: await world.agent(name) for name in names}
    await world.held(agents["busy"])
    for name in ("offline-1", "offline-2"):
        await world.seen(agents[name], ago=300, online=False)
    for state in ("draining", "disabled"):
        await world.execute("UPDATE agents SET admin_state = $2 WHERE id = $1", agents[state], state)
    await world.execute("UPDATE agents SET region = 'eu-west-1' WHERE name IN ('online-1', 'offline-1')")
    deleted = await world.agent("deleted")
    await world.execute("UPDATE agents SET deleted_at = clock_timestamp() WHERE id = $1", deleted)
    own = new_id()
    await world.execute("INSERT INTO agents (id, tenant_id, name) VALUES ($1, $2, 'own')", own, await world.tenant())


def gauge(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def line(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    (record,) = [record for record in caplog.records if record.message == "agent_statistics"]
    fields: dict[str, Any] = record.__dict__["fields"]
    return fields


@pytest.mark.usefixtures("fleet")
async def test_the_log_line_has_agents_by_status_capacity_queue_and_bans(
    world: Any, acting: Statistics, caplog: pytest.LogCaptureFixture
) -> None:
    await world.submit(await world.tenant(), count=2)
    await world.execute("UPDATE commands SET queued_at = queued_at - interval '90 s' WHERE status = 'queued'")
    await world.execute(
        "INSERT INTO banned_ips (address, banned_until) VALUES ('203.0.113.1', clock_timestamp() + interval '1 min')"
    )
    with caplog.at_level(logging.INFO):
        assert await acting.log() == 0
    told = line(caplog)
    assert 90 <= told.pop("oldest_wait_seconds") < 100
    assert told == {
        "agents": 7,
        "by_status": {"online": 3, "offline": 2, "draining": 1, "disabled": 1},
        "capacity": 150,
        "running": 1,
        "free": 149,
        "queued": 2,
        "banned_ips": 1,
    }


async def test_without_any_agent_the_line_says_0(acting: Statistics, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await acting.log()
    assert line(caplog) == {
        "agents": 0,
        "by_status": dict.fromkeys(STATUSES, 0),
        "capacity": 0,
        "running": 0,
        "free": 0,
        "queued": 0,
        "oldest_wait_seconds": 0,
        "banned_ips": 0,
    }


@pytest.mark.usefixtures("fleet")
async def test_agent_status_counts_platform_agents_and_tenants_own_apart(acting: Statistics) -> None:
    await acting.tell()
    assert [gauge("agent_status", type="platform", status=s) for s in STATUSES] == [3, 2, 1, 1]
    assert [gauge("agent_status", type="tenant", status=s) for s in STATUSES] == [0, 1, 0, 0]


async def test_every_status_is_there_without_a_single_agent_so_that_an_alert_can_fire(acting: Statistics) -> None:
    await acting.tell()
    assert [gauge("agent_status", type="platform", status=s) for s in STATUSES] == [0, 0, 0, 0]


@pytest.mark.usefixtures("fleet")
async def test_platform_agents_are_told_by_status_and_region(world: Any, acting: Statistics) -> None:
    await acting.tell()
    assert gauge("platform_agents", status="online", region="eu-west-1") == 1
    assert gauge("platform_agents", status="online", region="") == 2
    assert gauge("platform_agents", status="offline", region="eu-west-1") == 1
    await world.execute("UPDATE agents SET deleted_at = clock_timestamp() WHERE region = 'eu-west-1'")
    await acting.tell()
    assert gauge("platform_agents", status="online", region="eu-west-1") is None


async def test_banned_ips_current_is_exact(world: Any, acting: Statistics) -> None:
    await world.execute(
        "INSERT INTO banned_ips (address, banned_until) VALUES ('203.0.113.1', clock_timestamp()),"
        " ('203.0.113.2', clock_timestamp() + interval '1 s'), ('2001:db8::/64', clock_timestamp() + interval '1 h')"
    )
    await acting.tell()
    assert gauge("banned_ips_current") == 2
    await world.execute("DELETE FROM banned_ips")
    await acting.tell()
    assert gauge("banned_ips_current") == 0


@pytest.mark.usefixtures("fleet")
async def test_a_replica_that_does_not_act_tells_nothing(
    world: Any, acting: Statistics, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    await world.execute(
        "INSERT INTO banned_ips (address, banned_until) VALUES ('203.0.113.1', clock_timestamp() + interval '1 min')"
    )
    await acting.tell()
    other = Statistics(pool, replica(pool, "second"))
    with caplog.at_level(logging.INFO):
        await other.log()
        await other.tell()
    assert "agent_statistics" not in caplog.messages
    assert gauge("agent_status", type="platform", status="online") is None
    assert gauge("platform_agents", status="online", region="") is None
    assert gauge("banned_ips_current") == 0
    assert gauge("platform_requeue_brake") == 0
