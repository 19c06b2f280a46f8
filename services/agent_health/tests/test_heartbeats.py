"""The heartbeat: what it answers, what it writes down, who is refused."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from httpx import AsyncClient, Response

from agent_health.app import create_app
from agent_health.routes import ROUTES
from agent_health.settings import Settings
from platform_core.domain import tokens
from platform_core.domain.ids import AgentId
from platform_core.wire.events import ControlKind
from platform_core.wire.operations.agent_health import AGENT_HEALTH
from platform_server.assembly.announcer import Announcer
from platform_server.kit.serve import Runtime
from world import eventually, in_process

Beat = Callable[..., Awaitable[Response]]
NewKey = Callable[[AgentId], Awaitable[str]]
IsOnline = Callable[[AgentId], Awaitable[bool]]
Events = Callable[[], Awaitable[list[tuple[str, AgentId]]]]

HEARTBEAT = "/api/v1/platform-agent/heartbeat"


def test_the_routes_are_those_of_the_published_document() -> None:
    served = {(method, route.path) for route in ROUTES for method in route.methods or ()}
    assert served == {(str(operation.method), operation.path) for operation in AGENT_HEALTH}


async def test_the_answer_has_the_status_the_time_the_next_heartbeat_and_the_jobs_to_stop(beat: Beat) -> None:
    answered = await beat()
    assert answered.status_code == 200
    body = answered.json()
    assert body.pop("server_time").endswith("Z")
    assert body == {"status": "online", "next_heartbeat_seconds": 30, "cancelled_jobs": [], "lost_jobs": []}


async def test_the_server_time_is_the_databases(world: Any, beat: Beat) -> None:
    before = await world.pool.fetchval("SELECT clock_timestamp()")
    told = datetime.fromisoformat((await beat()).json()["server_time"])
    after = await world.pool.fetchval("SELECT clock_timestamp()")
    assert before <= told <= after
    assert told.tzinfo == UTC


async def test_an_agent_is_online_from_its_first_heartbeat_on(
    world: Any, agent: AgentId, beat: Beat, agent_events: Events, is_online: IsOnline
) -> None:
    await world.execute("UPDATE agent_presence SET online = false, last_seen_at = NULL")
    for _ in range(2):
        assert (await beat()).json()["status"] == "online"
    assert await is_online(agent)
    assert await agent_events() == [("online", agent)]


async def test_a_heartbeat_is_a_sign_of_life_with_its_percentages(world: Any, agent: AgentId, beat: Beat) -> None:
    await world.seen(agent, ago=59, online=True)
    assert (await beat(cpu_percent=12.5, memory_percent=100, disk_percent=0)).status_code == 200
    row = await world.pool.fetchrow(
        "SELECT cpu_percent, memory_percent, disk_percent, clock_timestamp() - last_seen_at AS ago FROM agent_presence"
    )
    assert (row["cpu_percent"], row["memory_percent"], row["disk_percent"]) == (12.5, 100, 0)
    assert row["ago"] < timedelta(seconds=10)


async def test_the_version_is_kept_up_to_date_and_stays_when_a_heartbeat_does_not_tell_it(
    world: Any, beat: Beat
) -> None:
    for told, kept in (({"version": "1.1.0"}, "1.1.0"), ({"version": "1.2.0"}, "1.2.0"), ({}, "1.2.0")):
        await beat(**told)
        assert await world.pool.fetchval("SELECT version FROM agents") == kept


async def test_64_heartbeats_at_once_are_each_answered_for_their_own_agent(
    world: Any, http: AsyncClient, new_key: NewKey
) -> None:
    agents = [await world.agent(f"scanner-{n}") for n in range(64)]
    keys = [await new_key(agent) for agent in agents]
    cancelled = [await world.held(agent) for agent in agents[:3]]
    for held in cancelled:
        await world.cancel(held)
    await world.execute("UPDATE agent_presence SET online = false")
    answers = await asyncio.gather(
        *(http.post(HEARTBEAT, json={"cpu_percent": n}, headers={"X-API-Key": key}) for n, key in enumerate(keys))
    )
    assert [a.status_code for a in answers] == [200] * 64
    assert [a.json()["cancelled_jobs"] for a in answers] == [[str(held.job)] for held in cancelled] + [[]] * 61
    rows = await world.pool.fetch("SELECT agent_id, cpu_percent FROM agent_presence WHERE online")
    assert {row["agent_id"]: row["cpu_percent"] for row in rows} == {agent: n for n, agent in enumerate(agents)}


async def test_fields_that_we_do_not_know_are_ignored(beat: Beat) -> None:
    assert (await beat(gpu_percent=7)).status_code == 200


@pytest.mark.parametrize(
    "body", [{"cpu_percent": 101}, {"disk_percent": -1}, {"running_jobs": ["7"]}, {"version": "v" * 51}], ids=str
)
async def test_a_heartbeat_that_cannot_be_is_400(beat: Beat, body: dict[str, object]) -> None:
    answered = await beat(**body)
    assert (answered.status_code, answered.json()["code"]) == (400, "validation_failed")
    assert answered.json()["errors"][0]["field"].startswith(next(iter(body)))


async def test_a_draining_agent_hears_that_it_drains(world: Any, beat: Beat) -> None:
    await world.execute("UPDATE agents SET admin_state = 'draining'")
    assert (await beat()).json()["status"] == "draining"


@pytest.mark.parametrize(
    ("change", "status", "code", "event"),
    [
        ("admin_state = 'disabled'", 403, "agent_disabled", "security.agent.inactive"),
        ("is_platform_agent = false", 403, "agent_type_mismatch", "security.agent.type_mismatch"),
        ("deleted_at = clock_timestamp()", 401, "key_invalid", "security.agent.not_found"),
    ],
)
async def test_an_agent_that_may_not_beat_is_refused_and_not_noted(
    world: Any, beat: Beat, caplog: pytest.LogCaptureFixture, change: str, status: int, code: str, event: str
) -> None:
    await world.execute(f"UPDATE agents SET {change}")
    await world.execute("UPDATE agent_presence SET online = false, last_seen_at = NULL")
    answered = await beat()
    assert (answered.status_code, answered.json()["code"]) == (status, code)
    assert [message for message in caplog.messages if message.startswith("security.")] == [event]
    assert await world.pool.fetchval("SELECT last_seen_at FROM agent_presence") is None


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "unauthenticated"),
        ({"X-API-Key": "rdv_agent_7"}, "key_invalid"),
        ({"X-API-Key": f"rdv_agent_{'0' * 72}"}, "key_invalid"),
        ({"X-API-Key": tokens.new_agent_key(bytes(32))}, "key_invalid"),
    ],
    ids=["no key", "malformed", "wrong checksum", "unknown"],
)
async def test_without_a_good_key_it_is_401(http: AsyncClient, headers: dict[str, str], code: str) -> None:
    answered = await http.post(HEARTBEAT, json={}, headers=headers)
    assert (answered.status_code, answered.json()["code"]) == (401, code)


async def test_an_expired_key_is_401(world: Any, beat: Beat) -> None:
    await world.execute("UPDATE agent_keys SET expires_at = clock_timestamp()")
    assert (await beat()).status_code == 401


async def test_5_unknown_keys_ban_the_address_and_the_ban_is_kept(world: Any, http: AsyncClient, client: Any) -> None:
    headers = {"X-API-Key": "rdv_agent_7", "X-Forwarded-For": "203.0.113.9"}
    statuses = [(await http.post(HEARTBEAT, json={}, headers=headers)).status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    left = await world.pool.fetchval(
        "SELECT banned_until - clock_timestamp() FROM banned_ips WHERE address = '203.0.113.9'"
    )
    assert timedelta(minutes=14) < left <= timedelta(minutes=15)


@pytest.mark.parametrize("state", ["disabled", "deleted"])
@pytest.mark.usefixtures("redis")
async def test_disabling_and_deleting_bite_within_a_second_though_redis_is_away(
    world: Any, agent: AgentId, new_key: NewKey, settings: Settings, state: str
) -> None:
    key = await new_key(agent)
    away = msgspec.structs.replace(settings, redis_url="redis://127.0.0.1:1/0")
    async with in_process(create_app(away, Runtime())) as http:

        async def status() -> int:
            return (await http.post(HEARTBEAT, json={}, headers={"X-API-Key": key})).status_code

        async def refused() -> bool:
            return await status() == {"disabled": 403, "deleted": 401}[state]

        assert await status() == 200
        change = {"disabled": "admin_state = 'disabled'", "deleted": "deleted_at = clock_timestamp()"}[state]
        await world.execute(f"UPDATE agents SET {change}")
        await eventually(refused, seconds=1.5)


async def test_disabling_bites_within_a_second_though_redis_accepts_and_never_answers(
    world: Any, agent: AgentId, new_key: NewKey, settings: Settings
) -> None:
    """The limiter's first look into Redis takes a second then; a key is not trusted for longer because of that."""
    key = await new_key(agent)

    async def looked_up() -> bool:
        return bool(await world.pool.fetchval("SELECT bool_or(last_used_at IS NOT NULL) FROM agent_keys"))

    silent = socket.create_server(("127.0.0.1", 0))
    stalled = msgspec.structs.replace(settings, redis_url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
    with silent:
        async with in_process(create_app(stalled, Runtime())) as http:

            async def status() -> int:
                return (await http.post(HEARTBEAT, json={}, headers={"X-API-Key": key})).status_code

            async def refused() -> bool:
                return await status() == 403

            first = asyncio.create_task(status())
            await eventually(looked_up)
            await world.execute("UPDATE agents SET admin_state = 'disabled'")
            # It was under way when the agent was disabled.
            assert await first == 200
            await eventually(refused, seconds=1.5)


async def test_the_key_of_a_disabled_agent_is_forgotten_at_the_message(
    world: Any, agent: AgentId, beat: Beat, client: Any
) -> None:
    """Within the second that it would still be trusted."""

    async def listens() -> bool:
        return bool(dict(await client.pubsub_numsub("agent_control"))[b"agent_control"])

    async def refused() -> bool:
        return (await beat()).status_code == 403

    await eventually(listens)
    assert (await beat()).status_code == 200
    await world.execute("UPDATE agents SET admin_state = 'disabled'")
    await Announcer(client).control(ControlKind.DISABLE, agent)
    await eventually(refused, seconds=0.7)


async def test_while_postgres_is_away_it_is_503_with_retry_after(settings: Settings) -> None:
    away = msgspec.structs.replace(settings, database_url="postgresql://postgres@127.0.0.1:1/none")
    async with in_process(create_app(away, Runtime())) as http:
        # Many agents behind one address: that nobody could be looked up is no failure of theirs.
        for n in range(8):
            key = tokens.new_agent_key(bytes([n] * 32))
            answered = await http.post(HEARTBEAT, json={}, headers={"X-API-Key": key})
            assert answered.status_code == 503
            assert int(answered.headers["Retry-After"]) >= 1
