"""Tenants over HTTP."""

from uuid import uuid4

import msgspec
import pytest
from httpx import AsyncClient
from redis.asyncio import Redis

from platform_server.store.connection import Pool
from world import World

TENANTS = "/api/v1/admin/tenants"
SYSTEM = "00000000-0000-0000-0000-000000000001"


async def test_a_tenant_is_made_changed_and_shown(admin: AsyncClient) -> None:
    tenant = str(uuid4())
    made = await admin.put(f"{TENANTS}/{tenant}", json={"name": "Acme", "plan": "free"})
    assert made.status_code == 201
    shown = made.json()["tenant"]
    assert (shown["id"], shown["plan"], shown["status"]) == (tenant, "free", "active")
    assert shown["limits"] == {
        "max_concurrent_jobs": 2,
        "max_queue_size": 10,
        "submit_rate": 100,
        "submit_burst": 500,
    }
    assert shown["usage"] == {"running": 0, "queued": 0}
    changed = await admin.put(f"{TENANTS}/{tenant}", json={"name": "Acme", "plan": "pro", "status": "suspended"})
    assert changed.status_code == 200
    assert changed.json()["tenant"]["limits"]["max_concurrent_jobs"] == 10
    assert (await admin.get(f"{TENANTS}/{tenant}")).json() == changed.json()


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({}, ["name", "plan"]),
        ({"name": "", "plan": "gold"}, ["name", "plan"]),
        ({"name": "Acme", "plan": "free", "status": "gone"}, ["status"]),
        ({"name": "Acme", "plan": "free", "is_system": True}, ["is_system"]),
    ],
)
async def test_bad_input(admin: AsyncClient, asked: dict[str, object], fields: list[str]) -> None:
    refused = await admin.put(f"{TENANTS}/{uuid4()}", json=asked)
    assert refused.status_code == 400
    assert sorted(error["field"] for error in refused.json()["errors"]) == fields


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_the_system_tenant_is_not_administered(admin: AsyncClient, method: str) -> None:
    body = {"name": "Mine", "plan": "free"} if method == "PUT" else None
    refused = await admin.request(method, f"{TENANTS}/{SYSTEM}", json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "system_tenant")


async def test_an_unknown_tenant_is_404(admin: AsyncClient) -> None:
    for method in ("GET", "DELETE"):
        assert (await admin.request(method, f"{TENANTS}/{uuid4()}")).status_code == 404


async def test_lists_go_page_by_page_without_the_system_tenant(admin: AsyncClient) -> None:
    made = [str(uuid4()) for _ in range(3)]
    for tenant in made:
        await admin.put(f"{TENANTS}/{tenant}", json={"name": tenant, "plan": "free"})
    first = (await admin.get(TENANTS, params={"limit": 2})).json()
    rest = (await admin.get(TENANTS, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [t["id"] for t in first["tenants"] + rest["tenants"]] == made[::-1]
    assert rest["next_cursor"] is None


async def test_deleting_ends_the_jobs_and_removes_all_but_the_audit_trail(
    admin: AsyncClient, pool: Pool, redis: str
) -> None:
    tenant, job = str(uuid4()), str(uuid4())
    agent = (await admin.post("/api/v1/admin/platform-agents", json={"name": "a"})).json()["agent"]["id"]
    await admin.put(f"{TENANTS}/{tenant}", json={"name": "Acme", "plan": "free"})
    await pool.execute(
        """
        INSERT INTO commands (
            id, tenant_id, is_platform_job, type, priority, status, payload, platform_agent_id, attempt, slot_held,
            assigned_at, auth_token_hash, auth_token_expires_at
        )
        VALUES (
            $1::text::uuid, $2::text::uuid, true, 'collect', 'low', 'assigned', '{}', $3::text::uuid, 1, true,
            now(), '', now() + interval '1 hour'
        )
        """,
        job,
        tenant,
        agent,
    )
    await pool.execute(
        """
        INSERT INTO commands (id, tenant_id, type, priority, status, payload, completed_at, is_platform_job)
        SELECT uuidv7(), $1::text::uuid, 'collect', 'low', 'completed', '{}', now(), n <= 700
        FROM generate_series(1, 1200) AS n
        """,
        tenant,
    )
    assert await World(pool).archived() == 700
    async with Redis.from_url(redis) as client, client.pubsub() as pubsub:
        await pubsub.subscribe("agent_control")
        await pubsub.get_message(timeout=5)
        assert (await admin.delete(f"{TENANTS}/{tenant}")).status_code == 204
        message = await pubsub.get_message(timeout=5)
    assert message is not None
    assert msgspec.json.decode(message["data"]) == {"kind": "cancel", "agent_id": agent, "job_id": job}
    assert await pool.fetchval("SELECT count(*) FROM jobs") == 0
    assert (await admin.get(f"{TENANTS}/{tenant}")).status_code == 404
    trail = await pool.fetch("SELECT action FROM admin_audit WHERE subject_id = $1 ORDER BY id", tenant)
    assert [row["action"] for row in trail] == ["tenant.put", "tenant.delete", "tenant.deleted"]
