"""A service's frame: its connections, its probes, its problem answers, its door for agents; and that it ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_address, ip_network

import msgspec
import pytest
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from platform_core.domain import tokens
from platform_core.domain.errors import AgentDisabled, Banned, KeyInvalid, NotFound, Unavailable
from platform_server.assembly.agent_door import agent_door
from platform_server.assembly.service import application, jwt_rules, limits_of, opened
from platform_server.kit.agent_auth import AgentKeys
from platform_server.kit.health import internal_app
from platform_server.kit.loops import Loop, beside, running
from platform_server.kit.serve import Runtime
from platform_server.kit.settings import ServiceSettings
from platform_server.signals.limiter import LimiterSettings
from platform_server.store import agents
from platform_server.store.connection import Pool, transaction
from world import World, in_process


async def test_what_is_opened_is_what_the_probes_look_at(settings: ServiceSettings) -> None:
    runtime = Runtime()
    async with opened(settings, runtime, name="tests") as at:
        assert await at.pool.fetchval("SELECT current_setting('application_name')") == "tests"
        assert await at.redis.ping()
        assert runtime.health.postgres is not None
        assert await runtime.health.postgres()
        assert runtime.health.redis is not None
        assert await runtime.health.redis()


async def test_a_service_opens_though_neither_store_is_there(settings: ServiceSettings) -> None:
    away = msgspec.structs.replace(
        settings, database_url="postgresql://postgres@127.0.0.1:1/none", redis_url="redis://127.0.0.1:1/0"
    )
    runtime = Runtime()
    async with opened(away, runtime, name="tests"):
        assert runtime.health.redis is not None
        assert not await runtime.health.redis()


@pytest.mark.parametrize(("address", "up"), [(None, 1), ("redis://127.0.0.1:1/0", 0)], ids=["there", "away"])
async def test_every_service_tells_whether_it_reaches_redis(
    settings: ServiceSettings, address: str | None, up: int
) -> None:
    runtime = Runtime()
    told = settings if address is None else msgspec.structs.replace(settings, redis_url=address)
    async with opened(told, runtime, name="tests"), in_process(internal_app(runtime.health)) as http:
        assert f"platform_redis_up {up}.0" in (await http.get("/metrics")).text.splitlines()


async def test_what_a_service_opens_besides_is_closed_before_the_pool(settings: ServiceSettings) -> None:
    async with opened(settings, Runtime(), name="tests") as at:

        async def give_up() -> None:
            assert await at.pool.fetchval("SELECT true")
            closed.append("lease")

        closed: list[str] = []
        at.stack.push_async_callback(give_up)
    assert closed == ["lease"]


async def who(request: Request) -> JSONResponse:
    return JSONResponse({"address": str(request.scope["client_address"])})


async def missing(_: Request) -> JSONResponse:
    raise NotFound("job")


@asynccontextmanager
async def nothing(_: Starlette) -> AsyncIterator[dict[str, object]]:
    yield {}


@pytest.fixture
def app(settings: ServiceSettings) -> Starlette:
    routes = [Route("/who", who), Route("/missing", missing)]
    return application(routes, nothing, msgspec.structs.replace(settings, trusted_proxies="127.0.0.0/8"))


async def test_every_service_answers_with_problems_and_request_ids(app: Starlette) -> None:
    async with in_process(app) as http:
        for path in ("/missing", "/nowhere"):
            answered = await http.get(path, headers={"X-Request-ID": "r-7"})
            assert answered.status_code == 404
            assert answered.headers["content-type"] == "application/problem+json"
            assert answered.json()["request_id"] == answered.headers["X-Request-ID"] == "r-7"


async def test_the_clients_address_is_the_entry_that_the_trusted_proxy_wrote(app: Starlette) -> None:
    async with in_process(app) as http:
        told = await http.get("/who", headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.7"})
    assert told.json() == {"address": "203.0.113.7"}


def test_rules_and_limits_come_from_the_settings(settings: ServiceSettings) -> None:
    told = msgspec.structs.replace(
        settings, auth_allow_listed="203.0.113.0/24", jwt_issuer="somebody", jwt_audience="us"
    )
    assert limits_of(settings) == LimiterSettings()
    assert limits_of(told).limit(ip_network("203.0.113.7/32")) == 50
    assert limits_of(told).limit(ip_network("198.51.100.7/32")) == 5
    rules = jwt_rules(told)
    assert (rules.secret, rules.issuer, rules.audience) == (settings.jwt_secret, "somebody", "us")


async def test_at_the_door_5_bad_keys_ban_and_the_ban_is_kept(pool: Pool, client: Redis) -> None:
    door = agent_door(pool, client, LimiterSettings())
    address = ip_address("203.0.113.7")
    for _ in range(5):
        with pytest.raises(KeyInvalid):
            await door.keys.authenticate("rdv_agent_7", address)
    with pytest.raises(Banned):
        await door.keys.authenticate("rdv_agent_7", address)
    assert await pool.fetchval("SELECT host(address) FROM banned_ips") == "203.0.113.7"


async def test_the_doors_loops_keep_bans_and_clean_up(pool: Pool, client: Redis) -> None:
    loops = {loop.name: loop for loop in agent_door(pool, client, LimiterSettings()).loops}
    assert {name: loop.every for name, loop in loops.items()} == {
        "credentials": timedelta(seconds=0.4),
        "keep-bans": timedelta(seconds=1),
        "clean-up": timedelta(minutes=5),
    }
    assert [await loop.step() for loop in loops.values()] == [0, 0, 0]


async def test_a_service_ends_though_a_library_loses_a_cancellation() -> None:
    """As asyncio.wait_for does before Python 3.12, when it comes together with the result."""
    lost: list[str] = []
    started = asyncio.Event()

    async def deaf(name: str) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost.append(name)
        await asyncio.Event().wait()

    async def step() -> int:
        await deaf("loop")
        return 0

    async with asyncio.timeout(10):
        async with running([Loop("deaf", step, timedelta(seconds=1))]), beside(deaf("task"), "deaf"):
            await started.wait()
            await asyncio.sleep(0)
    assert lost == ["task", "loop"]


async def test_a_known_key_costs_no_look_up_and_a_change_bites_by_the_next_look(
    pool: Pool, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, key = ip_address("203.0.113.7"), tokens.new_agent_key(b"k" * 32)
    agent = await World(pool).agent(key=key)
    door = agent_door(pool, client, LimiterSettings())
    look = next(loop.step for loop in door.loops if loop.name == "credentials")
    await look()
    await door.keys.authenticate(key, address)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 10)
    await look()
    with monkeypatch.context() as nobody_looks:
        nobody_looks.setattr(agents, "identity", None)
        assert (await door.keys.authenticate(key, address)).agent == agent
    async with transaction(pool) as conn:
        await agents.disable(conn, agent, reason=None)
    await look()
    with pytest.raises(AgentDisabled):
        await door.keys.authenticate(key, address)


async def test_changes_that_could_not_be_read_are_not_taken_for_none(
    no_pool: Pool, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(AgentKeys, "lose_track", lambda _: told.append("lost"))
    loops = {loop.name: loop for loop in agent_door(no_pool, client, LimiterSettings()).loops}
    with pytest.raises(Unavailable):
        await loops["credentials"].step()
    assert told == ["lost"]
