"""What a submission is answered, and what it leads to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from uuid import UUID

import msgspec
import pytest
from httpx import AsyncClient
from redis.asyncio import Redis
from submitting import JOBS, Body, NewTenant, Serve, Tenant, hear, job_id, problem, scan

from platform_core.domain import tokens
from platform_core.domain.ids import AgentId
from platform_core.domain.plans import PLANS, Plan
from platform_core.domain.scheduling import Profile
from platform_server.assembly.announcer import Announcer
from platform_server.signals import waiting
from world import KEY, World, eventually

NUCLEI = frozenset({"nuclei"})


async def test_the_answer_is_the_job_its_token_its_status_and_its_place(tenant: Tenant) -> None:
    asked = scan(templates=["cves"]) | {"priority": "high", "preferred_region": "us-east-1", "timeout": 60}
    told = await tenant.submitted(asked)
    assert told.keys() == {"job", "auth_token", "status", "queue"}
    assert (told["status"], told["queue"]) == ("queued", {"position": 1})
    job = told["job"]
    assert UUID(job["id"]).version == 7
    assert job["created_at"].endswith("Z")
    assert job == {
        "id": job["id"],
        "tenant_id": str(tenant.id),
        "type": "scan",
        "priority": "high",
        "status": "queued",
        "payload": {"tool": "nuclei", "target": "example.com", "templates": ["cves"]},
        "capabilities": ["nuclei"],
        "preferred_region": "us-east-1",
        "timeout": 60,
        "progress": None,
        "message": None,
        "result": None,
        "error": None,
        "platform_agent_id": None,
        "queue_priority": 750,
        "attempt": 0,
        "retry_count": 0,
        "retry_of": None,
        "attempts": [],
        "created_at": job["created_at"],
        "queued_at": job["created_at"],
        "assigned_at": None,
        "started_at": None,
        "completed_at": None,
        "position": 1,
        "waiting": None,
    }
    assert await tenant.job(job["id"]) == job
    (listed,) = (await tenant.call("GET", JOBS)).json()["jobs"]
    assert listed == job


async def test_capabilities_are_a_set(tenant: Tenant) -> None:
    told = await tenant.submitted(scan() | {"capabilities": ["nuclei", "nmap", "nuclei"]})
    assert told["job"]["capabilities"] == ["nmap", "nuclei"]
    assert await tenant.job(told["job"]["id"]) == told["job"]


async def test_the_place_is_among_the_tenants_own_queued_jobs_in_published_order(
    new_tenant: NewTenant, world: World
) -> None:
    tenant, other = await new_tenant(), await new_tenant()
    await other.submitted(scan() | {"priority": "critical"})
    priorities = ["normal", "normal", "critical", "low", "high"]
    told = [await tenant.submitted(scan() | {"priority": priority}) for priority in priorities]
    assert [answer["queue"]["position"] for answer in told] == [1, 2, 1, 4, 2]
    assert await places(tenant, told) == [3, 4, 1, 5, 2]
    # 26 minutes give a low job 260 points, which is more than a fresh normal one has.
    await world.execute("UPDATE commands SET queued_at = queued_at - interval '26 minutes' WHERE priority = 'low'")
    assert await places(tenant, told) == [4, 5, 1, 3, 2]
    listed = {job["id"]: job["position"] for job in (await tenant.call("GET", JOBS)).json()["jobs"]}
    assert [listed[answer["job"]["id"]] for answer in told] == [4, 5, 1, 3, 2]
    await tenant.call("POST", f"{JOBS}/{told[2]['job']['id']}/cancel")
    assert await places(tenant, told) == [3, 4, None, 2, 1]


async def places(tenant: Tenant, told: list[Body]) -> list[int | None]:
    return [(await tenant.job(answer["job"]["id"]))["position"] for answer in told]


async def test_the_token_is_that_of_the_first_attempt_and_only_its_hash_is_stored(
    new_tenant: NewTenant, serve: Serve, world: World
) -> None:
    told = await (await new_tenant()).submitted()
    assert told["auth_token"] == tokens.job_token(job_id(told), 1, kid="k1", key=KEY)
    row = await world.job(job_id(told))
    assert row["auth_token_hash"] == tokens.secret_hash(told["auth_token"])
    assert told["auth_token"] not in repr(row)
    (handed_out,) = await world.hand_out(await world.agent())
    assert handed_out.attempt == 1
    newer = b"1" * 32
    async with serve(job_token_keys=f"k2:{newer.hex()},k1:{KEY.hex()}") as http:
        told = await (await new_tenant(http=http)).submitted()
    assert told["auth_token"] == tokens.job_token(job_id(told), 1, kid="k2", key=newer)


async def test_a_job_is_assigned_in_the_answer_when_an_agent_really_holds_it(
    new_tenant: NewTenant, serve: Serve, world: World, client: Redis
) -> None:
    await waiting.announce(client, "dispatcher-1", [Profile(NUCLEI, NUCLEI, "")])
    agent = await world.agent()
    async with serve(assign_wait_ms=1000) as http:
        tenant = await new_tenant(http=http)
        await hear(client, 2)
        async with handing_out(world, agent, client):
            told = await tenant.submitted()
        shown = await tenant.job(told["job"]["id"])
    assert (told["status"], told["queue"]) == ("assigned", {"position": 0})
    job = told["job"]
    assert (job["status"], job["position"], job["platform_agent_id"]) == ("assigned", 0, str(agent))
    (attempt,) = job["attempts"]
    assert (attempt["attempt"], attempt["agent_id"], attempt["outcome"]) == (1, str(agent), None)
    assert shown == job | {"position": None}


async def test_the_answer_waits_for_nothing_when_no_fitting_agent_is_known_to_wait(
    new_tenant: NewTenant, serve: Serve, world: World, client: Redis
) -> None:
    await waiting.announce(client, "dispatcher-1", [Profile(NUCLEI, frozenset({"bandit"}), "")])
    async with serve(assign_wait_ms=1000) as http:
        await hear(client, 2)
        async with handing_out(world, await world.agent(), client):
            told = await (await new_tenant(http=http)).submitted()
    assert (told["status"], told["job"]["status"], told["queue"]) == ("queued", "queued", {"position": 1})


async def test_the_answer_waits_for_nothing_when_it_is_told_not_to(
    new_tenant: NewTenant, serve: Serve, world: World, client: Redis
) -> None:
    await waiting.announce(client, "dispatcher-1", [Profile(NUCLEI, NUCLEI, "")])
    async with serve(assign_wait_ms=0) as http:
        await hear(client, 2)
        async with handing_out(world, await world.agent(), client):
            assert (await (await new_tenant(http=http)).submitted())["status"] == "queued"


async def test_a_job_that_nobody_took_in_time_is_queued(tenant: Tenant, client: Redis) -> None:
    """An agent is known to wait, but it may be gone: after 25 ms the answer is given."""
    await waiting.announce(client, "dispatcher-1", [Profile(NUCLEI, NUCLEI, "")])
    await hear(client, 1)
    assert (await tenant.submitted())["status"] == "queued"


@asynccontextmanager
async def handing_out(world: World, agent: AgentId, client: Redis) -> AsyncIterator[None]:
    """Meanwhile the first job that is queued is handed to the agent, which is told as a dispatcher tells it."""

    async def queued() -> bool:
        return bool(await world.pool.fetchval("SELECT count(*) FROM commands WHERE status = 'queued'"))

    async def hand_out() -> None:
        await eventually(queued)
        Announcer(client).assigned(await world.hand_out(agent))

    task = asyncio.create_task(hand_out())
    yield
    await task


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
async def test_the_queue_limit_of_a_plan_is_exact_with_64_callers_and_two_instances(
    new_tenant: NewTenant, serve: Serve, world: World, plan: Plan
) -> None:
    free = min(plan.max_queue_size, 20)
    tenant = await new_tenant(plan.name)
    await world.submit(tenant.id, count=plan.max_queue_size - free)
    async with serve() as other:
        doors = cycle([tenant.http, other])
        answers = await asyncio.gather(*(tenant.submit(through=next(doors)) for _ in range(64)))
    accepted = [answer for answer in answers if answer.status_code == 201]
    places = sorted(answer.json()["queue"]["position"] for answer in accepted)
    assert places == list(range(plan.max_queue_size - free + 1, plan.max_queue_size + 1))
    for answer in answers:
        if answer not in accepted:
            full = problem(answer, 429, "queue_full")
            assert (full["limit"], full["size"]) == (plan.max_queue_size, plan.max_queue_size)
            assert int(answer.headers["Retry-After"]) >= 1
    assert await world.pool.fetchval("SELECT count(*) FROM commands") == plan.max_queue_size


async def test_a_full_queue_has_room_again_when_a_job_leaves_it(new_tenant: NewTenant, world: World) -> None:
    tenant, other = await new_tenant("free"), await new_tenant("free")
    first, *_ = await world.submit(tenant.id, count=10)
    problem(await tenant.submit(), 429, "queue_full")
    assert (await other.submit()).status_code == 201
    assert (await tenant.call("POST", f"{JOBS}/{first}/cancel")).status_code == 200
    assert (await tenant.submit()).status_code == 201
    problem(await tenant.submit(), 429, "queue_full")


async def test_a_tenant_that_submits_too_fast_is_told_when_to_come_back(
    new_tenant: NewTenant, serve: Serve, world: World
) -> None:
    limits = await world.pool.fetch("SELECT submit_rate, submit_burst FROM plans")
    assert {tuple(row) for row in limits} == {(100, 500)}
    await world.execute("UPDATE plans SET submit_rate = 1, submit_burst = 3 WHERE name = 'pro'")
    tenant, patient = await new_tenant("pro"), await new_tenant("pro")
    async with serve() as other:
        answers = [await tenant.submit(through=http) for http in (tenant.http, other, tenant.http, other)]
    assert [answer.status_code for answer in answers[:3]] == [201, 201, 201]
    problem(answers[3], 429, "rate_limited")
    assert answers[3].headers["Retry-After"] == "1"
    assert (await patient.submit()).status_code == 201
    assert (await tenant.call("GET", JOBS)).status_code == 200


async def test_what_a_submission_costs_of_the_rate_it_costs_even_when_it_is_refused(
    new_tenant: NewTenant, world: World
) -> None:
    await world.execute("UPDATE plans SET submit_rate = 1, submit_burst = 2 WHERE name = 'pro'")
    tenant = await new_tenant("pro")
    for _ in range(2):
        problem(await tenant.submit({"type": "exec"}), 400, "validation_failed")
    problem(await tenant.submit(), 429, "rate_limited")


async def test_those_who_wait_for_such_a_job_are_told(tenant: Tenant, client: Redis) -> None:
    async with client.pubsub() as pubsub:
        await pubsub.subscribe("job_queue")
        await pubsub.get_message(timeout=5)
        told = await tenant.submitted(scan() | {"preferred_region": "us-east-1"})
        message = await pubsub.get_message(timeout=5)
    assert message is not None
    wake_up = {"capabilities": ["nuclei"], "tool": "nuclei", "preferred_region": "us-east-1"}
    assert msgspec.json.decode(message["data"]) == wake_up

    async def streamed() -> bool:
        return bool(await client.xlen("platform:jobs"))

    await eventually(streamed)
    entries = await client.xrange("platform:jobs")
    assert entries is not None
    ((_, entry),) = entries
    assert entry is not None
    event = {"kind": "queued", "job_id": told["job"]["id"], "tenant_id": str(tenant.id)}
    assert msgspec.json.decode(entry[b"body"]) == event


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_the_traceparent_goes_with_the_job(tenant: Tenant, world: World) -> None:
    async def kept(headers: dict[str, str]) -> str | None:
        told = (await tenant.call("POST", JOBS, json=scan(), headers=headers)).json()
        stored: str | None = (await world.job(job_id(told)))["traceparent"]
        return stored

    assert await kept({"traceparent": TRACE}) == TRACE
    assert await kept({}) is None
    for malformed in ("x", TRACE.upper(), f"{TRACE}-x", f"01{TRACE[2:]}"):
        assert await kept({"traceparent": malformed}) is None, malformed


async def test_a_request_has_an_id_of_the_callers_or_ours(tenant: Tenant, http: AsyncClient) -> None:
    given = await tenant.call("POST", JOBS, json=scan(), headers={"X-Request-ID": "mine-1"})
    assert given.headers["X-Request-ID"] == "mine-1"
    refused = await tenant.submit({"type": "exec"})
    assert refused.headers["X-Request-ID"] == refused.json()["request_id"] != ""
    unusable = await tenant.call("GET", JOBS, headers={"X-Request-ID": "a b"})
    assert UUID(unusable.headers["X-Request-ID"]).version == 4
