"""Silence says nothing about an agent while it could not have reached us."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from agent_health.app import create_app
from agent_health.checker import HealthChecker
from agent_health.reachability import Reachability, answers_ok
from agent_health.settings import Settings
from platform_core.domain.ids import AgentId
from platform_server.assembly.announcer import Announcer
from platform_server.assembly.workers import Acting
from platform_server.kit.serve import Runtime
from platform_server.store.connection import Pool
from platform_server.store.leases import Lease


@dataclass
class Outside:
    """A process' monotonic clock, and whether what it looks at answers."""

    now: float = 0.0
    answers: list[bool] = field(default_factory=lambda: [True, True])

    def clock(self) -> float:
        return self.now

    def check(self, number: int) -> Callable[[], Awaitable[bool]]:
        async def ask() -> bool:
            return self.answers[number]

        return ask


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture
def reachability(outside: Outside) -> Reachability:
    return Reachability([outside.check(0), outside.check(1)], every=timedelta(seconds=5), clock=outside.clock)


async def probed(reachability: Reachability, outside: Outside, *, seconds: int) -> timedelta:
    """So much time passes, with a probe every 5 seconds."""
    for _ in range(seconds // 5):
        outside.now += 5
        await reachability.probe()
    return reachability.unbroken


async def test_it_is_unbroken_for_as_long_as_everything_answered(reachability: Reachability, outside: Outside) -> None:
    assert await probed(reachability, outside, seconds=60) == timedelta(seconds=60)


@pytest.mark.parametrize("fails", [0, 1], ids=["Postgres", "the gateway"])
async def test_while_one_of_them_fails_no_silence_accrues(
    reachability: Reachability, outside: Outside, fails: int
) -> None:
    await probed(reachability, outside, seconds=60)
    outside.answers[fails] = False
    assert await probed(reachability, outside, seconds=20) == timedelta(0)
    outside.answers[fails] = True
    assert await probed(reachability, outside, seconds=55) == timedelta(seconds=55)


async def test_what_happened_before_the_process_was_there_it_does_not_know(reachability: Reachability) -> None:
    assert reachability.unbroken == timedelta(0)


async def test_a_process_that_was_paused_heard_nobody_meanwhile(reachability: Reachability, outside: Outside) -> None:
    await probed(reachability, outside, seconds=60)
    outside.now += 300
    assert reachability.unbroken == timedelta(0)
    await reachability.probe()
    assert reachability.unbroken == timedelta(0)
    assert await probed(reachability, outside, seconds=10) == timedelta(seconds=10)


async def test_a_check_that_raises_has_failed(outside: Outside) -> None:
    async def refuse() -> bool:
        raise ConnectionRefusedError

    reachability = Reachability([refuse], every=timedelta(seconds=5), clock=outside.clock)
    outside.now = 5
    await reachability.probe()
    assert reachability.unbroken == timedelta(0)


async def test_nobody_goes_offline_until_agents_could_reach_us_for_60_seconds(
    world: Any, agent: AgentId, pool: Pool, client: Any, reachability: Reachability, outside: Outside
) -> None:
    acting = Acting(pool, Lease("agent-health", "only", timedelta(seconds=15)))
    await acting.renew()
    checker = HealthChecker(acting, Announcer(client), reachability, stale_after=timedelta(seconds=60))
    await world.seen(agent, ago=300, online=True)
    await probed(reachability, outside, seconds=55)
    assert await checker.check() == 0
    await probed(reachability, outside, seconds=5)
    assert await checker.check() == 1


@asynccontextmanager
async def answering(status_line: bytes) -> AsyncIterator[str]:
    """An HTTP server that answers everything with this; gives its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(status_line + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/healthz"


@pytest.mark.parametrize(
    ("status_line", "holds"), [(b"HTTP/1.1 200 OK", True), (b"HTTP/1.1 503 Service Unavailable", False), (b"", False)]
)
async def test_the_gateway_answers_when_its_health_route_gives_200(status_line: bytes, holds: bool) -> None:
    async with answering(status_line) as url:
        assert await answers_ok(url) is holds


@pytest.mark.parametrize(
    ("status_line", "changed", "reachable"),
    [
        (b"HTTP/1.1 200 OK", {}, True),
        (b"HTTP/1.1 500 Internal Server Error", {}, False),
        (b"HTTP/1.1 200 OK", {"database_url": "postgresql://postgres@127.0.0.1:1/none"}, False),
    ],
    ids=["both answer", "the gateway fails", "Postgres is away"],
)
async def test_the_service_looks_at_the_gateway_and_at_postgres(
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    status_line: bytes,
    changed: dict[str, str],
    reachable: bool,
) -> None:
    async with answering(status_line) as url:
        runtime = Runtime()
        app = create_app(msgspec.structs.replace(settings, gateway_health_url=url, **changed), runtime)
        async with app.router.lifespan_context(app):
            await next(loop for loop in runtime.health.loops if loop.name == "probe").step()
    assert ("agents_cannot_reach_us" in caplog.messages) is not reachable


async def test_without_an_address_the_gateway_is_not_looked_at(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    assert settings.gateway_health_url == ""
    runtime = Runtime()
    app = create_app(settings, runtime)
    async with app.router.lifespan_context(app):
        await next(loop for loop in runtime.health.loops if loop.name == "probe").step()
    assert "agents_cannot_reach_us" not in caplog.messages
