"""The queue in numbers, for administrators."""

from httpx import AsyncClient
from submitting import Body, NewTenant, scan

from world import World, bearer


async def statistics(http: AsyncClient) -> Body:
    answer = await http.get("/api/v1/admin/platform-jobs/stats", headers={"Authorization": f"Bearer {bearer()}"})
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"stats"}
    stats: Body = answer.json()["stats"]
    return stats


async def test_an_empty_queue_is_all_zeros(http: AsyncClient) -> None:
    assert await statistics(http) == {
        "queued": 0,
        "assigned": 0,
        "running": 0,
        "by_priority": {"critical": 0, "high": 0, "normal": 0, "low": 0},
        "by_tenant": [],
        "oldest_wait_seconds": 0,
        "wait_p50_seconds": 0,
        "wait_p95_seconds": 0,
        "wait_p99_seconds": 0,
        "done_per_minute": 0,
    }


async def test_what_waits_and_runs_by_priority_and_tenant(
    http: AsyncClient, new_tenant: NewTenant, world: World
) -> None:
    busy, other = await new_tenant(), await new_tenant()
    agent = await world.agent()
    await world.submit(busy.id, count=2)
    await world.hand_out(agent, count=2)
    await world.execute("UPDATE commands SET status = 'running' WHERE id = (SELECT min(id::text)::uuid FROM commands)")
    for priority in ("critical", "low", "low"):
        await busy.submitted(scan() | {"priority": priority})
    await other.submitted()
    await world.execute("UPDATE commands SET queued_at = now() - interval '100 s' WHERE priority = 'critical'")
    stats = await statistics(http)
    assert (stats["queued"], stats["assigned"], stats["running"]) == (4, 1, 1)
    assert stats["by_priority"] == {"critical": 1, "high": 0, "normal": 1, "low": 2}
    assert stats["by_tenant"] == [
        {"tenant_id": str(busy.id), "queued": 3, "held": 2},
        {"tenant_id": str(other.id), "queued": 1, "held": 0},
    ]
    assert 100 <= stats["oldest_wait_seconds"] < 110


async def test_waits_are_those_of_the_last_hours_hand_outs_and_done_is_what_ended_in_an_agents_hands(
    http: AsyncClient, new_tenant: NewTenant, world: World
) -> None:
    tenant = await new_tenant()
    await world.submit(tenant.id, count=100)
    await world.hand_out(await world.agent(), count=50)
    # The first 50 waited 1 to 50 seconds; half of them are done, five were cancelled, and one is of another hour.
    await world.execute(
        """
        UPDATE commands
        SET queued_at = assigned_at - n * interval '1 s',
            status = CASE
                WHEN n <= 20 THEN 'completed' WHEN n <= 25 THEN 'failed' WHEN n <= 30 THEN 'cancelled' ELSE status
            END,
            completed_at = CASE WHEN n <= 30 THEN now() END
        FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM commands WHERE status = 'assigned') AS numbered
        WHERE commands.id = numbered.id
        """
    )
    await world.execute(
        "UPDATE commands SET assigned_at = now() - interval '2 h' WHERE assigned_at - queued_at = interval '50 s'"
    )
    stats = await statistics(http)
    assert stats["wait_p50_seconds"] == 25
    assert round(stats["wait_p95_seconds"], 1) == 46.6
    assert round(stats["wait_p99_seconds"], 2) == 48.52
    assert stats["done_per_minute"] == 2.5
