"""Jobs that are over leave the table of those that wait and run, and are there all the same."""

import asyncio
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from platform_core.domain.ids import JobId
from platform_server.store import archive, jobs
from platform_server.store.connection import acquire
from queue_maintenance import worker as worker_module
from queue_maintenance.worker import QueueWorker
from world import World

OVER = ["completed", "failed", "cancelled", "expired"]


async def end(world: World, *ended: JobId, seconds: float, status: str = "completed", result: str = "null") -> None:
    await world.execute(
        "UPDATE commands SET status = $2, slot_held = false, result = $3::text::json,"
        " completed_at = clock_timestamp() - $4::interval WHERE id = ANY ($1)",
        ended, status, result, timedelta(seconds=seconds),
    )  # fmt: skip


async def hot(world: World) -> set[JobId]:
    return {row["id"] for row in await world.pool.fetch("SELECT id FROM commands")}


@pytest.mark.parametrize("status", OVER)
@pytest.mark.parametrize(("seconds", "moved"), [(59, 0), (60, 1)])
async def test_a_job_leaves_a_minute_after_its_end(
    world: World, worker: QueueWorker, status: str, seconds: int, moved: int
) -> None:
    (job,) = await world.submit(await world.tenant())
    await end(world, job, seconds=seconds, status=status)
    before = REGISTRY.get_sample_value("platform_jobs_archived_total") or 0
    assert await worker.archive() == moved
    assert await hot(world) == (set() if moved else {job})
    assert (await world.job(job))["status"] == status
    assert REGISTRY.get_sample_value("platform_jobs_archived_total") == before + moved


async def test_jobs_that_wait_run_or_hold_a_slot_stay(world: World, worker: QueueWorker) -> None:
    agent, tenant = await world.agent(), await world.tenant()
    assigned, running = await world.held(agent, acknowledged=False), await world.held(agent)
    cancelled = await world.held(agent)
    await world.cancel(cancelled)
    await world.execute("UPDATE commands SET completed_at = now() - interval '1 hour' WHERE completed_at IS NOT NULL")
    (queued,) = await world.submit(tenant)
    assert await worker.archive() == 0
    assert await hot(world) == {queued, assigned.job, running.job, cancelled.job}
    await world.execute("UPDATE commands SET slot_held = false WHERE status = 'cancelled'")
    assert await worker.archive() == 1
    assert await hot(world) == {queued, assigned.job, running.job}


async def test_nothing_of_a_job_is_lost_on_the_way(world: World, worker: QueueWorker) -> None:
    held = await world.held(await world.agent())
    await end(world, held.job, seconds=60, result='{"findings": "' + "x" * 100_000 + '"}')
    await world.execute(
        "UPDATE commands SET payload = to_json(repeat('y', 100000)), message = 'm', error = 'e', traceparent = 't',"
        " preferred_region = 'r', progress = 1, retry_of = id, retry_count = 2, attempt_log = '[{\"attempt\": 1}]'"
    )
    assert (
        await world.pool.fetchval("SELECT count(*) FROM commands, json_each(to_json(commands)) WHERE value IS NULL")
        == 0
    )
    before = await world.pool.fetchval("SELECT to_json(commands)::text FROM commands")
    assert await worker.archive() == 1
    assert await world.pool.fetchval("SELECT to_json(finished_commands)::text FROM finished_commands") == before


async def test_both_tables_have_the_same_columns_in_one_order(world: World) -> None:
    tables = [
        await world.pool.fetch(
            "SELECT attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid)"
            " FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
            " WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            table,
        )
        for table in ("commands", "finished_commands")
    ]
    assert tables[0] == tables[1]


async def test_a_step_moves_no_more_jobs_than_it_may(
    world: World, worker: QueueWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_ARCHIVED", 2)
    await end(world, *await world.submit(await world.tenant(), count=5), seconds=60)
    assert [await worker.archive() for _ in range(4)] == [2, 2, 1, 0]


async def test_the_next_batch_follows_at_once_only_a_full_one(
    world: World, worker: QueueWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_ARCHIVED", 2)
    await end(world, *await world.submit(await world.tenant(), count=5), seconds=60)
    assert [await worker.archive_in_batches() for _ in range(3)] == [2, 2, 0]
    assert await hot(world) == set()


async def test_a_step_moves_no_more_bytes_than_it_may_but_always_a_job(
    world: World, worker: QueueWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_BYTES", 60_000)
    large, *rest = await world.submit(await world.tenant(), count=3)
    incompressible = "(SELECT json_agg(gen_random_uuid()) FROM generate_series(1, 2500))"
    await world.execute(f"UPDATE commands SET payload = {incompressible} WHERE id = $1", large)
    await end(world, large, seconds=70)
    await end(world, *rest, seconds=60)
    assert [await worker.archive() for _ in range(3)] == [1, 2, 0]


async def test_jobs_behind_the_walk_are_found_after_retention_had_its_turn(world: World, worker: QueueWorker) -> None:
    first, second = await world.submit(await world.tenant(), count=2)
    await end(world, first, seconds=70)
    assert await worker.archive() == 1
    await end(world, second, seconds=90)
    assert await worker.archive() == 0
    assert await worker.retain() == 0
    assert await worker.archive() == 1


async def test_a_row_that_somebody_holds_is_passed_over(world: World, worker: QueueWorker) -> None:
    first, second = await world.submit(await world.tenant(), count=2)
    await end(world, first, second, seconds=60)
    async with acquire(world.pool) as other, other.transaction():
        await other.execute("SELECT FROM commands WHERE id = $1 FOR UPDATE", first)
        assert await worker.archive() == 1
    assert await hot(world) == {first}


async def test_whoever_reads_meanwhile_finds_every_job_once(
    world: World, worker: QueueWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "_ARCHIVED", 1)
    tenant = await world.tenant()
    newest_first = sorted(await world.submit(tenant, count=60), reverse=True)
    await end(world, *newest_first, seconds=60)
    moving = asyncio.create_task(_all(worker))
    readings = 0
    while not moving.done():
        async with acquire(world.pool) as conn:
            found = await jobs.page(conn, tenant, jobs.Filter(), after=None, limit=100)
            one = await jobs.find(conn, tenant, newest_first[readings % 60])
        assert [job.id for job in found] == newest_first
        assert one.id == newest_first[readings % 60]
        readings += 1
    assert await moving == 60
    assert readings > 1


async def _all(worker: QueueWorker) -> int:
    moved = 0
    while step := await worker.archive():
        moved += step
    return moved
