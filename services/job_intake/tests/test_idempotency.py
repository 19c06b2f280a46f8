"""`Idempotency-Key`: the same submission again is the same job, and the same answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import cycle

from redis.asyncio import Redis
from submitting import JOBS, NewTenant, Serve, Tenant, bad_fields, hear, job_id, problem, scan

from platform_core.domain.ids import TenantId
from platform_core.domain.jobs import JobStatus
from platform_core.domain.scheduling import Profile
from platform_server.assembly.announcer import Announcer
from platform_server.signals import waiting
from platform_server.store import attempts
from platform_server.store.connection import transaction
from world import World, eventually, token

NUCLEI = frozenset({"nuclei"})


async def jobs_in(world: World) -> int:
    count: int = await world.pool.fetchval("SELECT count(*) FROM commands")
    return count


async def test_the_same_key_and_body_get_the_first_answer_whatever_became_of_the_job(
    tenant: Tenant, world: World
) -> None:
    await tenant.submitted()
    first = await tenant.submitted(scan() | {"priority": "low"}, key="k")
    assert (first["status"], first["queue"]["position"]) == ("queued", 2)

    async def again() -> None:
        assert await tenant.submitted(scan() | {"priority": "low"}, key="k") == first

    await again()
    await tenant.submitted(scan() | {"priority": "critical"})
    await again()
    await world.hand_out(await world.agent(), count=3)
    await again()
    assert (await tenant.call("POST", f"{JOBS}/{first['job']['id']}/cancel")).status_code == 200
    await again()
    await world.execute("DELETE FROM commands")
    await again()
    assert await jobs_in(world) == 0


async def test_a_first_answer_that_told_of_an_assignment_is_told_again(
    new_tenant: NewTenant, serve: Serve, world: World, client: Redis
) -> None:
    await waiting.announce(client, "dispatcher-1", [Profile(NUCLEI, NUCLEI, "")])
    agent = await world.agent()
    async with serve(assign_wait_ms=1000) as http:
        tenant = await new_tenant(http=http)
        await hear(client, 2)
        submitting = asyncio.create_task(tenant.submitted(key="k"))

        async def queued() -> bool:
            return await jobs_in(world) == 1

        await eventually(queued)
        (handed_out,) = await world.hand_out(agent)
        Announcer(client).assigned([handed_out])
        first = await submitting
        assert (first["status"], first["queue"]) == ("assigned", {"position": 0})
        assert await tenant.submitted(key="k") == first
        held = attempts.Held(handed_out.job, agent, 1, token(handed_out.job, 1))
        async with transaction(world.pool) as conn:
            await attempts.ack(conn, [held])
            await attempts.complete(conn, [attempts.Outcome(held, JobStatus.COMPLETED, "{}", None)])
        assert await tenant.submitted(key="k") == first


async def test_another_spelling_of_the_same_body_is_the_same_body(tenant: Tenant, world: World) -> None:
    spellings = [
        b'{"type":"scan","payload":{"tool":"nuclei","target":"a","deep":{"x":1,"y":[1]}},"priority":"normal"}',
        b'{ "payload" : {"deep":{"y":[1],"x":1},"target":"\\u0061","tool":"nuclei"}, "type":"scan" }',
        b'{"type":"scan","timeout":1800,"capabilities":[],"payload":{"tool":"nuclei","target":"a","deep":{"x":1,"y":[1]}}}',
    ]
    headers = {"Idempotency-Key": "k"}
    answers = [await tenant.call("POST", JOBS, content=body, headers=headers) for body in spellings]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.json()["job"]["id"] for answer in answers}) == 1
    assert await jobs_in(world) == 1


async def test_the_same_key_with_another_body_is_422(tenant: Tenant, world: World) -> None:
    await tenant.submitted(key="k")
    for other in (scan(target="a"), scan(note=None), scan() | {"priority": "high"}, scan() | {"timeout": 60}):
        problem(await tenant.submit(other, key="k"), 422, "idempotency_mismatch")
    assert await jobs_in(world) == 1


async def test_a_tenants_keys_are_its_own(new_tenant: NewTenant, world: World) -> None:
    one, other = await new_tenant(), await new_tenant()
    assert (await one.submitted(key="k"))["job"]["id"] != (await other.submitted(scan(), key="k"))["job"]["id"]
    assert (await other.submit(scan(target="a"), key="k2")).status_code == 201
    assert await jobs_in(world) == 3


async def test_without_a_key_or_with_another_it_is_another_job(tenant: Tenant, world: World) -> None:
    for key in (None, None, "a", "A"):
        await tenant.submitted(key=key)
    assert await jobs_in(world) == 4


async def test_a_key_has_1_to_255_characters(tenant: Tenant) -> None:
    assert (await tenant.submit(key="k" * 255)).status_code == 201
    for key in ("", "k" * 256):
        assert bad_fields(await tenant.submit(key=key)) == ["Idempotency-Key"]


async def test_a_key_is_remembered_for_24_hours(tenant: Tenant, world: World) -> None:
    first = await tenant.submitted(key="k")
    await grow_old(world, hours=23.9)
    assert await tenant.submitted(key="k") == first
    await grow_old(world, hours=0.2)
    second = await tenant.submitted(scan(target="a"), key="k")
    assert second["job"]["id"] != first["job"]["id"]
    assert await tenant.submitted(scan(target="a"), key="k") == second


async def grow_old(world: World, *, hours: float) -> None:
    await world.execute("UPDATE idempotency_keys SET created_at = created_at - $1::interval", timedelta(hours=hours))


async def test_a_refused_submission_stores_nothing_and_a_replay_costs_no_room(
    new_tenant: NewTenant, world: World
) -> None:
    tenant = await new_tenant("free")
    assert (await tenant.submit({"type": "exec", "payload": {}}, key="k")).status_code == 400
    first = await tenant.submitted(key="k")
    await world.submit(tenant.id, count=9)
    problem(await tenant.submit(key="late"), 429, "queue_full")
    assert await world.pool.fetchval("SELECT count(*) FROM idempotency_keys") == 1
    assert await tenant.submitted(key="k") == first
    await tenant.call("POST", f"{JOBS}/{first['job']['id']}/cancel")
    assert (await tenant.submitted(scan(target="a"), key="late"))["queue"]["position"] == 10


async def test_a_key_whose_submission_is_in_flight_is_409_at_every_instance(
    new_tenant: NewTenant, serve: Serve, world: World
) -> None:
    tenant = await new_tenant()
    await tenant.submitted()
    async with serve() as other:
        async with held_up(world, tenant.id) as waits:
            first = asyncio.create_task(tenant.submit(key="k"))
            await eventually(waits)
            problem(await tenant.submit(key="k"), 409, "idempotency_in_flight")
            problem(await tenant.submit(key="k", through=other), 409, "idempotency_in_flight")
        assert (await first).status_code == 201
        again = [await tenant.submit(key="k", through=door) for door in (tenant.http, other)]
        assert [answer.json() for answer in again] == [(await first).json()] * 2
    assert await jobs_in(world) == 2


@asynccontextmanager
async def held_up(world: World, tenant: TenantId) -> AsyncIterator[Callable[[], Awaitable[bool]]]:
    """Submissions of the tenant wait; gives whether one does."""

    async def waits() -> bool:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return bool(await world.pool.fetchval(asked))

    async with transaction(world.pool) as conn:
        await conn.execute("SELECT FROM tenant_queues WHERE tenant_id = $1 FOR UPDATE", tenant)
        yield waits


async def test_64_at_once_with_one_key_and_two_instances_are_one_job(
    tenant: Tenant, serve: Serve, world: World
) -> None:
    async with serve() as other:
        doors = cycle([tenant.http, other])
        answers = await asyncio.gather(*(tenant.submit(key="k", through=next(doors)) for _ in range(64)))
        again = await tenant.submitted(key="k", through=other)
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert all(answer.json() == again for answer in answers if answer.status_code == 201)
    assert any(answer.status_code == 201 for answer in answers)
    assert await jobs_in(world) == 1


async def test_a_retry_is_no_repetition_of_the_submission_that_it_resembles(tenant: Tenant, world: World) -> None:
    first = await tenant.submitted(key="k")
    await world.execute("UPDATE commands SET status = 'failed', completed_at = now(), error = 'x'")
    path = f"{JOBS}/{job_id(first)}/retry"
    problem(await tenant.call("POST", path, headers={"Idempotency-Key": "k"}), 422, "idempotency_mismatch")
    retries = [await tenant.call("POST", path, headers={"Idempotency-Key": "r"}) for _ in range(2)]
    assert [answer.status_code for answer in retries] == [201, 201]
    assert retries[0].json() == retries[1].json()
    assert await jobs_in(world) == 2
