"""A tenant ends a job, or has one that failed tried again."""

from datetime import timedelta

import msgspec
from redis.asyncio import Redis
from submitting import JOBS, Body, NewTenant, Tenant, job_id, problem, scan

from platform_core.domain.ids import AgentId, JobId
from platform_core.domain.jobs import JobStatus
from platform_server.store import attempts
from platform_server.store.connection import transaction
from world import World, eventually, token


async def test_a_queued_job_ends_at_once(tenant: Tenant, world: World) -> None:
    told = await tenant.submitted()
    answer = await tenant.call("POST", f"{JOBS}/{job_id(told)}/cancel")
    assert answer.status_code == 200
    job = answer.json()["job"]
    assert (job["status"], job["position"], job["completed_at"] is None) == ("cancelled", None, False)
    assert await tenant.job(job["id"]) == job
    assert not (await world.job(job_id(told)))["slot_held"]


async def test_a_job_in_an_agents_hands_ends_at_once_and_its_slot_when_the_agent_confirms(
    new_tenant: NewTenant, world: World, client: Redis
) -> None:
    """The tenant's slot is free, and the agent hears of it."""
    agent = await world.agent()
    for acknowledged in (False, True):
        tenant = await new_tenant("free")
        told = await tenant.submitted()
        await world.hand_out(agent)
        if acknowledged:
            await ack(world, agent, job_id(told))
        async with client.pubsub() as pubsub:
            await pubsub.subscribe("agent_control")
            await pubsub.get_message(timeout=5)
            answer = await tenant.call("POST", f"{JOBS}/{job_id(told)}/cancel")
            message = await pubsub.get_message(timeout=5)
        assert answer.json()["job"]["status"] == "cancelled"
        assert message is not None
        heard = {"kind": "cancel", "agent_id": str(agent), "job_id": told["job"]["id"]}
        assert msgspec.json.decode(message["data"]) == heard
        assert (await world.job(job_id(told)))["slot_held"]
        await world.submit(tenant.id, count=2)
        await world.hand_out(agent, count=2)


async def test_it_is_told_to_those_who_follow_jobs(tenant: Tenant, client: Redis) -> None:
    told = await tenant.submitted()
    await tenant.call("POST", f"{JOBS}/{job_id(told)}/cancel")

    async def both() -> bool:
        return await client.xlen("platform:jobs") == 2

    await eventually(both)
    entries = await client.xrange("platform:jobs") or []
    kinds = [msgspec.json.decode(entry[b"body"])["kind"] for _, entry in entries if entry is not None]
    assert kinds == ["queued", "cancelled"]


async def test_a_job_that_is_over_is_409_and_stays_as_it_is(tenant: Tenant, world: World) -> None:
    told = await tenant.submitted()
    for status in ("completed", "failed", "cancelled", "expired"):
        await world.execute("UPDATE commands SET status = $1, completed_at = now()", status)
        before = await tenant.job(told["job"]["id"])
        problem(await tenant.call("POST", f"{JOBS}/{job_id(told)}/cancel"), 409, "job_over")
        assert await tenant.job(told["job"]["id"]) == before


async def test_a_failed_job_is_tried_again_as_a_new_one(tenant: Tenant, world: World) -> None:
    asked = scan(templates=["cves"]) | {"priority": "high", "preferred_region": "eu", "timeout": 60}
    first = await failed(tenant, world, asked)
    answer = await tenant.call("POST", f"{JOBS}/{first['id']}/retry")
    assert answer.status_code == 201
    told = answer.json()
    assert told.keys() == {"job", "auth_token", "status", "queue"}
    assert (told["status"], told["queue"]) == ("queued", {"position": 1})
    again = told["job"]
    assert again["retry_of"] == first["id"] != again["id"]
    same = ("type", "payload", "priority", "capabilities", "preferred_region", "timeout")
    assert {name: again[name] for name in same} == {name: first[name] for name in same}
    assert (again["attempt"], again["retry_count"], again["error"], again["attempts"]) == (0, 0, None, [])
    assert await tenant.job(again["id"]) == again
    assert await tenant.job(first["id"]) == first


async def test_only_a_failed_job_is_tried_again(tenant: Tenant, world: World) -> None:
    told = await tenant.submitted()
    path = f"{JOBS}/{job_id(told)}/retry"
    problem(await tenant.call("POST", path), 409, "job_over")
    agent = await world.agent()
    await world.hand_out(agent)
    problem(await tenant.call("POST", path), 409, "job_over")
    await ack(world, agent, job_id(told))
    problem(await tenant.call("POST", path), 409, "job_over")
    for status in ("completed", "cancelled", "expired"):
        await world.execute("UPDATE commands SET status = $1, completed_at = now(), slot_held = false", status)
        problem(await tenant.call("POST", path), 409, "job_over")
    assert await world.pool.fetchval("SELECT count(*) FROM commands") == 1


async def test_the_queue_limit_holds_for_a_retry(new_tenant: NewTenant, world: World) -> None:
    tenant = await new_tenant("free")
    first = await failed(tenant, world, scan())
    await world.submit(tenant.id, count=10)
    full = problem(await tenant.call("POST", f"{JOBS}/{first['id']}/retry"), 429, "queue_full")
    assert (full["limit"], full["size"]) == (10, 10)


async def failed(tenant: Tenant, world: World, asked: Body) -> Body:
    """A job of the tenant's that failed in an agent's hands, as the tenant sees it."""
    told = await tenant.submitted(asked)
    agent = await world.agent()
    await world.aged(job_id(told), timedelta(minutes=1))
    await world.hand_out(agent)
    await ack(world, agent, job_id(told))
    async with transaction(world.pool) as conn:
        await attempts.complete(conn, [attempts.Outcome(held(agent, job_id(told)), JobStatus.FAILED, None, "timeout")])
    job = await tenant.job(told["job"]["id"])
    assert (job["status"], job["error"]) == ("failed", "timeout")
    return job


async def ack(world: World, agent: AgentId, job: JobId) -> None:
    async with transaction(world.pool) as conn:
        (report,) = await attempts.ack(conn, [held(agent, job)])
    assert isinstance(report, attempts.Report)


def held(agent: AgentId, job: JobId) -> attempts.Held:
    return attempts.Held(job, agent, 1, token(job, 1))
