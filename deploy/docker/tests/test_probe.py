"""The image's healthcheck against a real internal port."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvicorn

from platform_server.kit.health import Health, internal_app
from platform_stack.processes import free_port

PROBE = Path(__file__).parents[1] / "probe.py"

Probed = Callable[[], Awaitable[int]]


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
async def probed(health: Health) -> AsyncIterator[Probed]:
    """Runs the probe against a service whose health this is; returns its exit code."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(internal_app(health), port=port, log_config=None, lifespan="off"))

    async def probe() -> int:
        return await run_probe(port)

    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn tells by nothing else
            await asyncio.sleep(0.01)
    yield probe
    server.should_exit = True
    await serving


async def run_probe(port: int) -> int:
    told = await asyncio.create_subprocess_exec(sys.executable, PROBE, env={"PLATFORM_INTERNAL_PORT": str(port)})
    return await told.wait()


async def answers() -> bool:
    return True


async def test_a_service_whose_postgres_answers_is_healthy(probed: Probed, health: Health) -> None:
    health.postgres = answers
    assert await probed() == 0


async def test_a_service_that_is_not_ready_is_unhealthy(probed: Probed) -> None:
    assert await probed() == 1


async def test_nobody_there_is_unhealthy() -> None:
    assert await run_probe(free_port()) == 1


def test_the_probe_needs_the_standard_library_only() -> None:
    alone = subprocess.run(
        [sys.executable, "-S", "-I", PROBE], env={"PLATFORM_INTERNAL_PORT": str(free_port())}, check=False
    )
    assert alone.returncode == 1
