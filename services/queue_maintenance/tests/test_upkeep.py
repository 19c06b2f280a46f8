"""Expiry, stored priorities, retention, gauges."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import REGISTRY

from platform_core.domain.ids import TenantId
from platform_core.domain.jobs import JobStatus, Priority
from platform_core.domain.priority import queue_priority
from platform_server.assembly.workers import Acting
from platform_server.store import jobs as store_jobs
from platform_server.store import sweeps
from platform_server.store.connection import Conn, Pool, acquire
from platform_server.store.leases import Lease
from queue_maintenance import worker as worker_module
from queue_maintenance.gauges import Gauges, shown
from queue_maintenance.worker import QueueWorker
from world import World


@pytest.mark.parametrize(("age", "status"), [(86_390, "queued"), (86_400, "expired")])
async def test_a_job_expires_after_86400_seconds_in_the_queue(
    world: Any, worker: QueueWorker, job_events: Callable[[], Awaitable[list[str]]], age: int, status: str
) -> None:
    (job,) = await world.submit(await world.tenant())
    await world.execute("UPDATE commands SET queued_at = clock_timestamp() - $1 * interval '1 s'", age)
    assert await worker.expire() == (status == "expired")
    row = await world.job(job)
    assert (row["status"], row["completed_at"] is not None) == (status, status == "expired")
    assert await job_events() == ["expired"] * (status == "expired")


async def test_a_job_that_runs_does_not_expire(world: Any, worker: QueueWorker) -> None:
    held = await world.held(await world.agent())
    await world.execute("UPDATE commands SET queued_at = clock_timestamp() - interval '2 days'")
    assert await worker.expire() == 0
    assert (await world.job(held.job))["status"] == "running"


@pytest.mark.parametrize("priority", list(Priority))
async def test_sql_and_the_domain_compute_the_same_priority(conn: Conn, priority: Priority) -> None:
    base = queue_priority(priority, waited=timedelta(0))
    waits = [-5, 5.9, 59.5, 86_000, *range(0, 3100, 7)]
    rows = await conn.fetch(
        "SELECT queue_priority($1, waited) AS stored FROM unnest($2::interval[]) WITH ORDINALITY AS w (waited, n)"
        " ORDER BY n",
        base,
        [timedelta(seconds=seconds) for seconds in waits],
    )
    expected = [queue_priority(priority, waited=timedelta(seconds=seconds)) for seconds in waits]
    assert [row["stored"] for row in rows] == expected


async def test_the_stored_priority_follows_the_published_formula(world: Any, worker: QueueWorker) -> None:
    tenant = await world.tenant()
    jobs = {(await world.submit(tenant, priority=p))[0]: (p, w) for p in Priority for w in (0, 63, 603, 4000)}
    for job, (_, waited) in jobs.items():
        await world.execute(
            "UPDATE commands SET queued_at = clock_timestamp() - $2::interval WHERE id = $1",
            job,
            timedelta(seconds=waited),
        )
    assert await worker.refresh_priorities() == 0
    for job, (priority, waited) in jobs.items():
        expected = queue_priority(priority, waited=timedelta(seconds=waited))
        assert (await world.job(job))["queue_priority"] == expected, (priority, waited)


async def test_a_refresh_writes_only_what_changed_and_passes_over_what_is_locked(world: Any, pool: Pool) -> None:
    fresh, old, locked = await world.submit(await world.tenant(), count=3)
    await world.execute(
        "UPDATE commands SET queued_at = clock_timestamp() - interval '10 min' WHERE id = ANY ($1)", [old, locked]
    )
    async with acquire(pool) as other, other.transaction():
        await other.execute("SELECT FROM commands WHERE id = $1 FOR UPDATE", locked)
        async with acquire(pool) as conn:
            refreshed, place = await sweeps.refresh_priorities(conn, sweeps.FRONT, limit=10)
    assert (refreshed, place) == (1, None)
    assert [(await world.job(job))["queue_priority"] for job in (fresh, old, locked)] == [500, 600, 500]


async def test_a_refresh_walks_the_queue_in_stretches_once_an_interval(
    world: Any, worker: QueueWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_STRETCH", 2)
    await world.submit(await world.tenant(), count=5)
    await world.execute("UPDATE commands SET queued_at = queued_at - interval '10 min'")
    assert [await worker.refresh_priorities() for _ in range(3)] == [2, 2, 0]
    assert await world.pool.fetchval("SELECT count(*) FROM commands WHERE queue_priority = 600") == 5


async def test_finished_jobs_are_kept_30_days(world: Any, worker: QueueWorker) -> None:
    agent, tenant = await world.agent(), await world.tenant()
    kept, gone = [await world.held(agent) for _ in range(2)]
    (waiting,) = await world.submit(tenant)
    for held, days in ((kept, 29.9), (gone, 30.1)):
        await world.execute(
            "UPDATE commands SET status = 'completed', slot_held = false,"
            " completed_at = clock_timestamp() - $2::interval WHERE id = $1",
            held.job,
            timedelta(days=days),
        )
    assert await worker.archive() == 2
    assert await worker.retain() == 1
    left = {row["id"] for row in await world.pool.fetch("SELECT id FROM jobs")}
    assert left == {kept.job, waiting}


async def test_idempotency_keys_are_kept_24_hours(world: Any, worker: QueueWorker) -> None:
    tenant = await world.tenant()
    for key, hours in (("new", 23.9), ("old", 24.1)):
        await world.execute(
            "INSERT INTO idempotency_keys (tenant_id, key, body_hash, job_id, position, created_at)"
            " VALUES ($1, $2, 'x', $1, 1, clock_timestamp() - $3::interval)",
            tenant,
            key,
            timedelta(hours=hours),
        )
    assert await worker.retain() == 1
    assert [row["key"] for row in await world.pool.fetch("SELECT key FROM idempotency_keys")] == ["new"]


async def test_agents_keys_and_bans_that_are_over_are_deleted(world: Any, worker: QueueWorker) -> None:
    rotated, _ = await world.agent("rotated"), await world.agent("settled")
    await world.execute("UPDATE agent_keys SET expires_at = clock_timestamp() WHERE agent_id = $1", rotated)
    await world.execute(
        "INSERT INTO banned_ips (address, banned_until) VALUES ('203.0.113.1', clock_timestamp()),"
        " ('203.0.113.2', clock_timestamp() + interval '1 min')"
    )
    assert await worker.retain() == 2
    assert await world.pool.fetchval("SELECT count(*) FROM agent_keys") == 1
    assert await world.pool.fetchval("SELECT host(address) FROM banned_ips") == "203.0.113.2"


async def test_what_the_claim_keeps_in_mind_agrees_with_what_waits(world: World, worker: QueueWorker) -> None:
    """Whatever happens to jobs, some note of a lane with jobs is there: 0 repairs."""
    agent, tenant = await world.agent(), await world.tenant()
    jobs = await world.submit(tenant, count=5)
    assert await worker.reconcile() == 0
    first, second = await world.hand_out(agent, count=2)
    await world.cancel(first)
    async with acquire(world.pool) as conn:
        await store_jobs.cancel(conn, tenant, jobs[3])
    await world.execute(
        "UPDATE commands SET assigned_at = clock_timestamp() - interval '61 s' WHERE id = $1", second.job
    )
    assert await worker.recover() == 1
    assert await worker.reconcile() == 0
    assert [held.job for held in await world.hand_out(agent, count=3)] == [second.job, jobs[2], jobs[4]]
    assert await worker.reconcile() == 0
    assert await world.pool.fetchval("SELECT count(*) FROM lane_heads") == 0


async def test_a_forgotten_lane_is_found_counted_and_served_again(world: World, worker: QueueWorker) -> None:
    (job,) = await world.submit(await world.tenant())
    await world.execute("DELETE FROM lane_wakes")
    before = gauge("platform_reconcile_repairs_total") or 0
    assert await worker.reconcile() == 1
    assert gauge("platform_reconcile_repairs_total") == before + 1
    (handed_out,) = await world.hand_out(await world.agent())
    assert handed_out.job == job


def gauge(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


async def test_the_acting_replica_tells_the_depth_of_the_queue_and_no_other_does(world: Any, pool: Pool) -> None:
    await world.held(await world.agent())
    tenant = await world.tenant()
    await world.submit(tenant, count=2)
    await world.execute("UPDATE commands SET queued_at = queued_at - interval '90 s' WHERE status = 'queued'")
    first, second = (Acting(pool, Lease("queue-maintenance", name, timedelta(seconds=15))) for name in ("1", "2"))
    await first.renew()
    await Gauges(pool, first).tell()
    assert [gauge("platform_jobs", state=s) for s in ("queued", "assigned", "running")] == [2, 0, 1]
    assert 90 <= (gauge("platform_jobs_oldest_wait_seconds") or 0) < 100
    assert gauge("tenant_jobs", tenant=str(tenant), state="queued") == 2

    await Gauges(pool, second).tell()
    assert gauge("platform_jobs", state="queued") is None
    assert gauge("tenant_jobs", tenant=str(tenant), state="queued") is None


def test_only_the_busiest_tenants_have_a_series_of_their_own() -> None:
    a, b, c = (TenantId(UUID(int=n)) for n in range(3))
    queued, running = JobStatus.QUEUED, JobStatus.RUNNING
    told = shown({(a, queued): 5, (a, running): 1, (b, queued): 3, (c, running): 2}, busiest=1)
    assert {(tenant, state): jobs for tenant, state, jobs in told} == {
        (str(a), queued): 5,
        (str(a), running): 1,
        ("other", queued): 3,
        ("other", JobStatus.ASSIGNED): 0,
        ("other", running): 2,
    }
