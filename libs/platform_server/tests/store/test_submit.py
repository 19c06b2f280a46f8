"""Submissions: limits that are exact, keys that are idempotent, places in published order."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import cycle

import pytest

from platform_core.domain.errors import (
    IdempotencyInFlight,
    IdempotencyMismatch,
    JobOver,
    NotFound,
    QueueFull,
    TenantUnknown,
)
from platform_core.domain.ids import JobId, TenantId
from platform_core.domain.jobs import JobStatus, JobType, Priority
from platform_core.domain.plans import PLANS, Plan
from platform_core.domain.priority import queue_priority
from platform_core.domain.scheduling import Requirement
from platform_server.kit.clock import new_id
from platform_server.store import jobs, submissions, tenants
from platform_server.store.connection import Conn, Pool, acquire, transaction
from platform_server.store.jobs import Job
from platform_server.store.submissions import Accepted, NewJob
from world import World, new_job


async def a_tenant(conn: Conn, plan: str = "free") -> TenantId:
    tenant = TenantId(new_id())
    await tenants.put(conn, tenant, name="acme", plan=plan, status="active")
    return tenant


async def submit(conn: Conn, asked: NewJob) -> Accepted | Exception:
    (answer,) = await submissions.submit(conn, [asked])
    return answer


async def submit_through(pool: Pool, asked: Sequence[NewJob]) -> list[Accepted | Exception]:
    door = acquire if all(job.key is None for job in asked) else transaction
    async with door(pool) as conn:
        return await submissions.submit(conn, asked)


@pytest.mark.parametrize("keyed", [False, True], ids=["without keys", "with a key each"])
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
async def test_the_queue_limit_is_exact_under_64_submissions_at_once(
    world: World, pool: Pool, other_pool: Pool, plan: Plan, keyed: bool
) -> None:
    tenant = await world.tenant()
    await world.execute("UPDATE tenants SET plan = $2 WHERE id = $1", tenant, plan.name)
    size = plan.max_queue_size * 2 // 64 + 1
    batches = [[new_job(tenant, key=f"{n}" if keyed and not i else None) for i in range(size)] for n in range(64)]
    doors = cycle([pool, other_pool])
    answers = [a for b in await asyncio.gather(*(submit_through(next(doors), b) for b in batches)) for a in b]

    accepted = [answer for answer in answers if isinstance(answer, Accepted)]
    assert sorted(answer.position for answer in accepted) == list(range(1, plan.max_queue_size + 1))
    refused = [answer for answer in answers if not isinstance(answer, Accepted)]
    assert all(isinstance(answer, QueueFull) and answer.limit == plan.max_queue_size for answer in refused)
    assert await world.pool.fetchval("SELECT count(*) FROM commands") == plan.max_queue_size


async def test_only_queued_jobs_take_room(world: World, pool: Pool) -> None:
    tenant = await world.tenant()
    await world.execute("UPDATE tenants SET plan = 'free' WHERE id = $1", tenant)
    await world.submit(tenant, count=10)
    (full,) = await submit_through(pool, [new_job(tenant)])
    assert isinstance(full, QueueFull)
    assert (full.limit, full.size) == (10, 10)
    await world.hand_out(await world.agent(), count=2)
    answers = await submit_through(pool, [new_job(tenant) for _ in range(3)])
    assert [type(answer) for answer in answers] == [Accepted, Accepted, QueueFull]


async def test_a_full_queue_is_no_other_tenants_matter(conn: Conn) -> None:
    full, other = await a_tenant(conn), await a_tenant(conn)
    await submissions.submit(conn, [new_job(full) for _ in range(10)])
    answers = await submissions.submit(conn, [new_job(full), new_job(other)])
    assert [type(answer) for answer in answers] == [QueueFull, Accepted]


async def test_an_unknown_tenant_has_no_queue(conn: Conn) -> None:
    assert isinstance(await submit(conn, new_job(TenantId(new_id()))), TenantUnknown)


async def test_the_same_key_and_body_give_the_first_answer_again(conn: Conn) -> None:
    tenant = await a_tenant(conn)
    await submissions.submit(conn, [new_job(tenant), new_job(tenant)])
    first = await submit(conn, new_job(tenant, key="k", body_hash="body"))
    await submit(conn, new_job(tenant, priority=Priority.CRITICAL))
    again = await submit(conn, new_job(tenant, key="k", body_hash="body"))
    assert isinstance(first, Accepted)
    assert first.position == 3
    assert again == replace(first, replayed=True)


async def test_the_same_key_twice_in_one_batch_is_one_job_and_one_still_in_flight(conn: Conn) -> None:
    tenant = await a_tenant(conn)
    twice = [new_job(tenant, key="k", body_hash="body") for _ in range(2)]
    first, second = await submissions.submit(conn, twice)
    assert isinstance(first, Accepted)
    assert (first.id, first.position, first.replayed) == (twice[0].id, 1, False)
    assert isinstance(second, IdempotencyInFlight)


async def test_the_same_key_with_another_body_is_a_mismatch(conn: Conn) -> None:
    tenant = await a_tenant(conn)
    await submit(conn, new_job(tenant, key="k", body_hash="body"))
    assert isinstance(await submit(conn, new_job(tenant, key="k", body_hash="other")), IdempotencyMismatch)
    assert await conn.fetchval("SELECT count(*) FROM commands") == 1


async def test_a_replay_costs_no_room_and_goes_through_a_full_queue(conn: Conn) -> None:
    tenant = await a_tenant(conn)
    first = await submit(conn, new_job(tenant, key="k", body_hash="body"))
    await submissions.submit(conn, [new_job(tenant) for _ in range(8)])
    replay, last, over = await submissions.submit(
        conn, [new_job(tenant, key="k", body_hash="body"), new_job(tenant), new_job(tenant)]
    )
    assert isinstance(first, Accepted)
    assert replay == replace(first, replayed=True)
    assert [type(last), type(over)] == [Accepted, QueueFull]


async def test_a_refused_submission_stores_nothing(conn: Conn) -> None:
    tenant = await a_tenant(conn)
    await submissions.submit(conn, [new_job(tenant) for _ in range(10)])
    refused = new_job(tenant, key="k", body_hash="body")
    assert isinstance(await submit(conn, refused), QueueFull)
    assert await conn.fetchval("SELECT count(*) FROM idempotency_keys") == 0
    await conn.execute("UPDATE commands SET status = 'cancelled', completed_at = now()")
    assert isinstance(await submit(conn, refused), Accepted)


async def test_a_key_is_remembered_for_24_hours_and_outlives_its_job(conn: Conn) -> None:
    tenant = await a_tenant(conn)
    first = await submit(conn, new_job(tenant, key="k", body_hash="body"))
    await conn.execute("DELETE FROM commands")
    await grow_old(conn, hours=23.9)
    assert isinstance(first, Accepted)
    assert await submit(conn, new_job(tenant, key="k", body_hash="body")) == replace(first, replayed=True)
    await grow_old(conn, hours=0.2)
    anew = new_job(tenant, key="k", body_hash="other")
    second = await submit(conn, anew)
    assert isinstance(second, Accepted)
    assert (second.id, second.position, second.replayed) == (anew.id, 1, False)
    assert await submit(conn, new_job(tenant, key="k", body_hash="other")) == replace(second, replayed=True)


async def grow_old(conn: Conn, *, hours: float) -> None:
    await conn.execute("UPDATE idempotency_keys SET created_at = created_at - $1::interval", timedelta(hours=hours))


async def test_another_tenant_has_keys_of_its_own(conn: Conn) -> None:
    one, other = await a_tenant(conn), await a_tenant(conn)
    answers = await submissions.submit(conn, [new_job(t, key="k", body_hash=str(t)) for t in (one, other)])
    assert [isinstance(answer, Accepted) and not answer.replayed for answer in answers] == [True, True]


async def test_a_batch_may_have_jobs_with_keys_and_without(conn: Conn) -> None:
    tenant, unknown = await a_tenant(conn), TenantId(new_id())
    first = await submit(conn, new_job(tenant, key="seen", body_hash="body"))
    await submissions.submit(conn, [new_job(tenant) for _ in range(6)])
    asked = [
        new_job(tenant),
        new_job(tenant, key="seen", body_hash="body"),
        new_job(tenant, key="new", body_hash="body"),
        new_job(tenant, key="seen", body_hash="other"),
        new_job(unknown, key="new"),
        new_job(tenant, priority=Priority.CRITICAL),
        new_job(tenant, key="new", body_hash="body"),
        new_job(tenant, key="late", body_hash="body"),
        new_job(tenant, key="late", body_hash="body"),
    ]
    plain, replay, keyed, mismatch, nobody, urgent, repeated, late, later = await submissions.submit(conn, asked)
    assert isinstance(first, Accepted)
    assert replay == replace(first, replayed=True)
    assert [a.position for a in (plain, keyed, urgent) if isinstance(a, Accepted)] == [8, 9, 1]
    assert [type(a) for a in (mismatch, nobody, repeated)] == [IdempotencyMismatch, TenantUnknown, IdempotencyInFlight]
    assert [type(a) for a in (late, later)] == [QueueFull, QueueFull]
    assert await conn.fetchval("SELECT array_agg(key ORDER BY key) FROM idempotency_keys") == ["new", "seen"]


async def test_five_parallel_submissions_with_one_key_are_one_job(world: World, pool: Pool, other_pool: Pool) -> None:
    tenant = await world.tenant()
    doors = cycle([pool, other_pool])
    racing = [submit_through(next(doors), [new_job(tenant, key="k", body_hash="body")]) for _ in range(5)]
    answers = [answer for (answer,) in await asyncio.gather(*racing)]
    assert all(isinstance(answer, Accepted | IdempotencyInFlight) for answer in answers)
    assert len({answer.id for answer in answers if isinstance(answer, Accepted)}) == 1
    assert sum(not answer.replayed for answer in answers if isinstance(answer, Accepted)) == 1
    assert await pool.fetchval("SELECT count(*) FROM commands") == 1


async def test_places_are_in_published_order(conn: Conn) -> None:
    tenant = await a_tenant(conn)
    asked = [new_job(tenant, priority=priority) for priority in reversed(Priority)]
    await submissions.submit(conn, asked)
    low, normal, high, critical = (job.id for job in asked)
    assert await placed(conn, tenant) == [critical, high, normal, low]
    await conn.execute("UPDATE commands SET queued_at = queued_at - interval '26 minutes' WHERE id = $1", low)
    assert await placed(conn, tenant) == [critical, high, low, normal]


async def placed(conn: Conn, tenant: TenantId) -> list[JobId]:
    """The tenant's queued jobs by their places, which are 1, 2, 3 …"""
    queued = await jobs.page(conn, tenant, jobs.Filter(), after=None, limit=50)
    places = {await jobs.position(conn, tenant, job.id): job.id for job in queued}
    assert set(places) == set(range(1, len(queued) + 1))
    return [places[n] for n in sorted(places)]


async def test_a_place_counts_the_tenants_own_jobs_only_and_is_0_once_it_is_not_queued(conn: Conn) -> None:
    busy, tenant = await a_tenant(conn), await a_tenant(conn)
    await submissions.submit(conn, [new_job(busy) for _ in range(5)])
    asked = new_job(tenant)
    first = await submit(conn, asked)
    assert isinstance(first, Accepted)
    assert (first.id, first.position) == (asked.id, 1)
    await jobs.cancel(conn, tenant, asked.id)
    assert await jobs.position(conn, tenant, asked.id) == 0


@pytest.mark.parametrize("seconds", [0, 5.9, 6, 60, 2999.9, 3000, 90_000])
@pytest.mark.parametrize("priority", Priority)
async def test_the_priority_in_sql_is_the_published_one(conn: Conn, priority: Priority, seconds: float) -> None:
    waited = timedelta(seconds=seconds)
    base = queue_priority(priority, waited=timedelta(0))
    assert await conn.fetchval("SELECT queue_priority($1, $2)", base, waited) == queue_priority(priority, waited=waited)


async def test_a_job_is_read_as_it_was_sent(conn: Conn) -> None:
    tenant = await a_tenant(conn)
    requirement = Requirement(frozenset({"nmap", "nuclei"}), "nuclei", "us-east-1")
    asked = new_job(tenant, payload='{ "target":"a",  "tool": "nuclei", "tool": "nuclei" }', requirement=requirement)
    await submit(conn, asked)
    job = await jobs.find(conn, tenant, asked.id)
    assert (job.payload, job.capabilities, job.preferred_region) == (asked.payload, ("nmap", "nuclei"), "us-east-1")
    assert (job.status, job.attempt, job.retry_count, job.attempts) == (JobStatus.QUEUED, 0, 0, ())


async def test_another_tenants_job_is_as_absent_as_one_that_never_was(conn: Conn) -> None:
    owner, other = await a_tenant(conn), await a_tenant(conn)
    asked = new_job(owner)
    await submit(conn, asked)
    for act in (jobs.find, jobs.cancel):
        with pytest.raises(NotFound) as denied:
            await act(conn, other, asked.id)
        with pytest.raises(NotFound) as absent:
            await act(conn, other, JobId(new_id()))
        assert str(denied.value) == str(absent.value)
    assert await jobs.belongs_to_another(conn, other, asked.id)
    assert not await jobs.belongs_to_another(conn, owner, asked.id)
    assert (await jobs.find(conn, owner, asked.id)).status is JobStatus.QUEUED


async def test_a_job_that_is_over_cannot_be_cancelled(conn: Conn) -> None:
    tenant = await a_tenant(conn)
    asked = new_job(tenant)
    await submit(conn, asked)
    assert await jobs.cancel(conn, tenant, asked.id) == jobs.Cancelled(None, 0)
    with pytest.raises(JobOver):
        await jobs.cancel(conn, tenant, asked.id)


async def test_pages_are_newest_first_and_filtered(conn: Conn) -> None:
    tenant = await a_tenant(conn)
    asked = [new_job(tenant, priority=priority) for priority in Priority]
    await submissions.submit(conn, asked)
    first = await jobs.page(conn, tenant, jobs.Filter(), after=None, limit=3)
    rest = await jobs.page(conn, tenant, jobs.Filter(), after=first[-1].id, limit=3)
    assert ids([*first, *rest]) == sorted((job.id for job in asked), reverse=True)
    low = await jobs.page(conn, tenant, jobs.Filter(priority=Priority.LOW), after=None, limit=3)
    assert ids(low) == [asked[-1].id]
    for nothing in (jobs.Filter(status=JobStatus.RUNNING), jobs.Filter(type=JobType.COLLECT)):
        assert await jobs.page(conn, tenant, nothing, after=None, limit=3) == []


def ids(found: Sequence[Job]) -> list[JobId]:
    return [job.id for job in found]
