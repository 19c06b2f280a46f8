"""The probes: readiness asks Postgres only, liveness the process only."""

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from httpx import ASGITransport, AsyncClient, Response

from platform_server.kit.health import Health, internal_app
from platform_server.kit.loops import Loop


async def up() -> bool:
    return True


async def down() -> bool:
    return False


async def broken() -> bool:
    raise ConnectionError


async def nothing() -> int:
    return 0


async def get(health: Health, path: str) -> Response:
    async with AsyncClient(transport=ASGITransport(internal_app(health)), base_url="http://internal") as client:
        return await client.get(path)


async def test_ready_with_postgres_and_redis() -> None:
    answer = await get(Health(postgres=up, redis=up), "/readyz")
    assert (answer.status_code, answer.json()["status"], answer.json()["degraded"]) == (200, "ready", [])


@pytest.mark.parametrize("redis", [down, broken])
async def test_with_redis_down_it_is_ready_and_says_degraded(redis: Callable[[], Awaitable[bool]]) -> None:
    answer = await get(Health(postgres=up, redis=redis), "/readyz")
    assert (answer.status_code, answer.json()["degraded"]) == (200, ["redis"])


@pytest.mark.parametrize("postgres", [down, broken, None])
async def test_without_postgres_it_is_not_ready_and_yet_alive(
    postgres: Callable[[], Awaitable[bool]] | None,
) -> None:
    health = Health(postgres=postgres, redis=up)
    assert (await get(health, "/readyz")).status_code == 503
    assert (await get(health, "/healthz")).status_code == 200


async def test_a_draining_service_is_not_ready() -> None:
    assert (await get(Health(postgres=up, redis=up, draining=True), "/readyz")).status_code == 503


async def test_a_stalled_loop_turns_liveness_red(monkeypatch: pytest.MonkeyPatch) -> None:
    health = Health(postgres=up, loops=[Loop("sweep", nothing, timedelta(seconds=1))])
    assert (await get(health, "/healthz")).json() == {"status": "ok", "stalled": []}
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    answer = await get(health, "/healthz")
    assert (answer.status_code, answer.json()["stalled"]) == (503, ["sweep"])


async def test_metrics_are_told_with_the_names_of_the_specification() -> None:
    told = (await get(Health(), "/metrics")).text
    for name in (
        "security_events_total",
        "auth_failures_total",
        "banned_ips_current",
        "platform_jobs_submitted_total",
        "job_validation_failures_total",
        "agent_status",
    ):
        assert f"# TYPE {name} " in told
