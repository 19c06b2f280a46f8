"""Administration of agents over HTTP."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from httpx import AsyncClient
from redis.asyncio import Redis

from platform_core.domain.ids import TenantId
from platform_core.domain.tokens import secret_hash
from platform_server.store import agents, tenants
from platform_server.store.connection import Pool
from world import bearer

AGENTS = "/api/v1/admin/platform-agents"
Serve = Callable[..., AbstractAsyncContextManager[AsyncClient]]
NewAgent = Callable[..., Awaitable[dict[str, Any]]]


async def running_job(pool: Pool, agent: str) -> UUID:
    """A job that the agent holds on its first attempt."""
    job, owner = uuid4(), TenantId(uuid4())
    async with pool.acquire() as conn:
        await tenants.put(conn, owner, name="Acme", plan="pro", status="active")
        await conn.execute(
            """
            INSERT INTO commands (
                id, tenant_id, is_platform_job, type, priority, status, payload, queued_at, platform_agent_id, attempt,
                slot_held, assigned_at, started_at, auth_token_hash, auth_token_expires_at, cost
            )
            VALUES (
                $1, $2, true, 'collect', 'normal', 'running', '{}', now(), $3::text::uuid, 1,
                true, now(), now(), '', now() + interval '1 hour', 1
            )
            """,
            job,
            owner,
            agent,
        )
    return job


async def identity(pool: Pool, key: str) -> agents.Identity | None:
    async with pool.acquire() as conn:
        return await agents.identity(conn, secret_hash(key))


async def heard(redis: str) -> list[tuple[str, str]]:
    async with Redis.from_url(redis) as client:
        entries: Any = await client.xrange("platform:agents")
    events = [msgspec.json.decode(fields[b"body"]) for _, fields in entries]
    return [(event["kind"], event["agent_id"]) for event in events]


async def test_an_administrator_makes_an_agent_without_a_token(admin: AsyncClient, pool: Pool) -> None:
    made = await admin.post(AGENTS, json={"name": "scanner-1", "tools": ["nuclei", "nuclei"], "max_concurrent": 4})
    assert made.status_code == 201
    agent = made.json()["agent"]
    assert sorted(agent) == sorted(
        [
            "id", "name", "status", "is_platform_agent", "region", "capabilities", "tools", "labels", "max_concurrent",
            "running", "version", "hostname", "last_seen_at", "created_at",
        ]
    )  # fmt: skip
    assert agent["tools"] == ["nuclei"]
    found = await identity(pool, made.json()["api_key"])
    assert found is not None
    assert str(found.agent) == agent["id"]
    again = await admin.post(AGENTS, json={"name": "scanner-1"})
    assert (again.status_code, again.json()["code"]) == (409, "name_taken")


async def test_an_api_key_is_shown_once(admin: AsyncClient, new_agent: NewAgent) -> None:
    made = await new_agent()
    for later in (await admin.get(AGENTS), await admin.get(f"{AGENTS}/{made['agent']['id']}")):
        assert later.status_code == 200
        assert made["api_key"].removeprefix("rdv_agent_") not in later.text


async def test_platform_agents_belong_to_the_system_tenant(
    public: AsyncClient,
    pool: Pool,
    new_agent: NewAgent,
    new_token: Callable[..., Awaitable[tuple[str, str]]],
    application: Callable[..., dict[str, Any]],
) -> None:
    made = (await new_agent())["agent"]
    _, raw = await new_token()
    registered = (await public.post("/api/v1/platform-agents/register", json=application(raw))).json()["agent"]
    assert (made["is_platform_agent"], registered["is_platform_agent"]) == (True, True)
    owners = await pool.fetch("SELECT name, tenant_id::text FROM agents WHERE is_platform_agent ORDER BY name")
    system = "00000000-0000-0000-0000-000000000001"
    assert [tuple(row) for row in owners] == [("scanner-1", system), ("scanner-us-east-1-01", system)]


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({}, ["name"]),
        ({"name": "a", "max_concurrent": 101, "region": "EU"}, ["max_concurrent", "region"]),
        ({"name": "a", "max_concurent": 1}, ["max_concurent"]),
    ],
)
async def test_bad_input(admin: AsyncClient, asked: dict[str, object], fields: list[str]) -> None:
    refused = await admin.post(AGENTS, json=asked)
    assert refused.status_code == 400
    assert sorted(error["field"] for error in refused.json()["errors"]) == fields


async def test_an_agent_is_shown_with_the_jobs_it_holds(admin: AsyncClient, pool: Pool, new_agent: NewAgent) -> None:
    agent = (await new_agent())["agent"]["id"]
    job = await running_job(pool, agent)
    shown = (await admin.get(f"{AGENTS}/{agent}")).json()
    assert shown["agent"]["running"] == 1
    assert [(j["id"], j["status"], j["attempt"]) for j in shown["jobs"]] == [(str(job), "running", 1)]


async def test_disabling_refuses_the_key_and_takes_the_jobs_back(
    admin: AsyncClient, pool: Pool, redis: str, new_agent: NewAgent
) -> None:
    made = await new_agent()
    agent = made["agent"]["id"]
    job = await running_job(pool, agent)
    disabled = await admin.post(f"{AGENTS}/{agent}/disable", json={"reason": "compromised"})
    assert disabled.status_code == 200
    assert (disabled.json()["agent"]["status"], disabled.json()["agent"]["running"]) == ("disabled", 0)
    row = await pool.fetchrow("SELECT status, slot_held, retry_count, attempt_log FROM commands WHERE id = $1", job)
    assert row is not None
    assert (row["status"], row["slot_held"], row["retry_count"]) == ("queued", False, 0)
    assert msgspec.json.decode(row["attempt_log"])[0]["outcome"] == "agent_disabled"
    found = await identity(pool, made["api_key"])
    assert found is not None
    assert found.admin_state == "disabled"
    assert await heard(redis) == [("registered", agent), ("disabled", agent)]
    trail = await pool.fetchrow("SELECT action, subject_id, detail FROM admin_audit ORDER BY id DESC LIMIT 1")
    assert trail is not None
    assert (trail["action"], trail["subject_id"]) == ("agent.disable", agent)
    assert msgspec.json.decode(trail["detail"]) == {"reason": "compromised"}


async def test_control_messages_reach_whoever_serves_the_agent(
    admin: AsyncClient, redis: str, new_agent: NewAgent
) -> None:
    agent = (await new_agent())["agent"]["id"]
    async with Redis.from_url(redis) as client, client.pubsub() as pubsub:
        await pubsub.subscribe("agent_control")
        await pubsub.get_message(timeout=5)
        for act in ("drain", "disable", "enable", "rotate-key"):
            assert (await admin.post(f"{AGENTS}/{agent}/{act}")).status_code == 200
        await admin.delete(f"{AGENTS}/{agent}")
        messages = [await pubsub.get_message(timeout=5) for _ in range(5)]
    kinds = [msgspec.json.decode(message["data"])["kind"] for message in messages if message]
    assert kinds == ["drain", "disable", "enable", "rotate_key", "delete"]


@pytest.mark.parametrize(("act", "kind"), [("disable", "disable"), ("delete", "delete")])
async def test_an_agent_hears_that_its_jobs_are_lost_before_its_stream_ends(
    admin: AsyncClient, pool: Pool, redis: str, new_agent: NewAgent, act: str, kind: str
) -> None:
    """So it kills the scanner at once, and not when it next tells of progress."""
    agent = (await new_agent())["agent"]["id"]
    job = await running_job(pool, agent)
    async with Redis.from_url(redis) as client, client.pubsub() as pubsub:
        await pubsub.subscribe("agent_control")
        await pubsub.get_message(timeout=5)
        if act == "delete":
            await admin.delete(f"{AGENTS}/{agent}")
        else:
            await admin.post(f"{AGENTS}/{agent}/{act}")
        messages = [await pubsub.get_message(timeout=5) for _ in range(2)]
    told = [msgspec.json.decode(message["data"]) for message in messages if message]
    assert [(one["kind"], one.get("job_id")) for one in told] == [("lost", str(job)), (kind, None)]


async def test_draining_and_enabling(admin: AsyncClient, pool: Pool, redis: str, new_agent: NewAgent) -> None:
    agent = (await new_agent())["agent"]["id"]
    await pool.execute("UPDATE agent_presence SET online = true, last_seen_at = now()")
    drained = await admin.post(f"{AGENTS}/{agent}/drain")
    assert (drained.status_code, drained.json()["agent"]["status"]) == (200, "draining")
    enabled = await admin.post(f"{AGENTS}/{agent}/enable")
    assert (enabled.status_code, enabled.json()["agent"]["status"]) == (200, "online")
    await admin.post(f"{AGENTS}/{agent}/disable")
    refused = await admin.post(f"{AGENTS}/{agent}/drain")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert [kind for kind, _ in await heard(redis)] == ["registered", "draining", "enabled", "disabled"]


async def test_rotation_gives_a_new_key_and_lets_the_old_one_live_on(
    admin: AsyncClient, pool: Pool, new_agent: NewAgent
) -> None:
    made = await new_agent()
    rotated = await admin.post(f"{AGENTS}/{made['agent']['id']}/rotate-key")
    assert rotated.status_code == 200
    assert rotated.json()["api_key"] != made["api_key"]
    for key in (made["api_key"], rotated.json()["api_key"]):
        assert await identity(pool, key) is not None
    assert await pool.fetchval("SELECT count(*) FROM agent_keys WHERE expires_at IS NOT NULL") == 1


async def test_deleting_takes_the_jobs_back_and_frees_the_name(
    admin: AsyncClient, pool: Pool, new_agent: NewAgent
) -> None:
    made = await new_agent()
    agent = made["agent"]["id"]
    job = await running_job(pool, agent)
    gone = await admin.delete(f"{AGENTS}/{agent}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert await pool.fetchval("SELECT status FROM commands WHERE id = $1", job) == "queued"
    assert await identity(pool, made["api_key"]) is None
    assert (await admin.get(f"{AGENTS}/{agent}")).status_code == 404
    assert (await admin.delete(f"{AGENTS}/{agent}")).status_code == 404
    await new_agent()


@pytest.mark.parametrize("act", ["disable", "enable", "drain", "rotate-key"])
async def test_an_unknown_agent_is_404_and_leaves_no_trace(admin: AsyncClient, pool: Pool, act: str) -> None:
    for agent in (uuid4(), "stats", "x"):
        assert (await admin.post(f"{AGENTS}/{agent}/{act}")).status_code == 404
    assert await pool.fetchval("SELECT count(*) FROM admin_audit") == 0


async def test_lists_go_page_by_page_and_by_filter(admin: AsyncClient, new_agent: NewAgent) -> None:
    made = [(await new_agent(name=f"scanner-{n}", region=f"r{n}", capabilities=[f"c{n}"]))["agent"] for n in range(3)]
    first = (await admin.get(AGENTS, params={"limit": 2})).json()
    rest = (await admin.get(AGENTS, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [a["id"] for a in first["agents"] + rest["agents"]] == [a["id"] for a in made[::-1]]
    assert rest["next_cursor"] is None
    by_filter = {
        "status=offline": ["scanner-2", "scanner-1", "scanner-0"],
        "status=online": [],
        "region=r1": ["scanner-1"],
        "capability=c2": ["scanner-2"],
    }
    for query, names in by_filter.items():
        assert [a["name"] for a in (await admin.get(f"{AGENTS}?{query}")).json()["agents"]] == names
    assert (await admin.get(f"{AGENTS}?status=busy")).status_code == 400


async def test_statistics(admin: AsyncClient, pool: Pool, new_agent: NewAgent) -> None:
    online = (await new_agent(name="a", region="eu-west-1", max_concurrent=4))["agent"]["id"]
    await pool.execute("UPDATE agent_presence SET online = true, last_seen_at = now()")
    disabled = (await new_agent(name="b", max_concurrent=9))["agent"]["id"]
    await admin.post(f"{AGENTS}/{disabled}/disable")
    await running_job(pool, online)
    assert (await admin.get(f"{AGENTS}/stats")).json() == {
        "total": 2,
        "by_status": {"online": 1, "offline": 0, "draining": 0, "disabled": 1},
        "by_region": {"eu-west-1": 1, "": 1},
        "capacity": 4,
        "running": 1,
        "free": 3,
    }


async def test_disabling_waits_for_the_claim_under_way(admin: AsyncClient, pool: Pool, new_agent: NewAgent) -> None:
    """Else a claim that has read the agent as enabled would hand it a job just after its jobs went back."""
    agent = (await new_agent())["agent"]["id"]
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT pg_advisory_xact_lock(7305808869221)")
        disabling = asyncio.create_task(admin.post(f"{AGENTS}/{agent}/disable"))
        done, _ = await asyncio.wait([disabling], timeout=0.3)
        assert not done
        job = await running_job(pool, agent)
    assert (await disabling).status_code == 200
    assert await pool.fetchval("SELECT status FROM commands WHERE id = $1", job) == "queued"


async def test_without_redis_all_goes_on(serve: Serve) -> None:
    async with serve(redis_url="redis://127.0.0.1:1/0") as client:
        client.headers["Authorization"] = f"Bearer {bearer()}"
        made = await client.post(AGENTS, json={"name": "scanner-1"})
        assert made.status_code == 201
        assert (await client.post(f"{AGENTS}/{made.json()['agent']['id']}/disable")).status_code == 200
