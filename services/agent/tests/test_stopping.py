"""exploop-agent as a process: ready soon, small, and well-behaved when it is told to stop."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from starlette.responses import JSONResponse

from platform_core.domain.jobs import JobType

Command = tuple[str, Mapping[str, str]]
Until = Callable[..., Any]
Run = Callable[..., Any]


def touch(file: Path) -> None:
    file.touch()


@pytest.fixture
def run(command: Command) -> Run:
    """exploop-agent --platform for as long as the block; variables may be given."""

    @asynccontextmanager
    async def start(**variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
        program, environment = command
        process = await asyncio.create_subprocess_exec(
            program, "--platform", env={**environment, **variables}, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    return start


async def test_an_agent_is_ready_within_3_seconds_and_idles_below_90_megabytes(
    platform: Any, run: Run, until: Until
) -> None:
    begun = time.monotonic()
    async with run() as process:
        await until(lambda: platform.asked("poll"), seconds=20)
        ready = time.monotonic() - begun
        resident = psutil.Process(process.pid).memory_info().rss
    assert resident < 90 * 2**20
    assert ready < 3


async def test_a_stopped_agent_closes_its_poll_and_ends_with_0(platform: Any, run: Run, until: Until) -> None:
    async with run() as process:
        await until(lambda: platform.asked("poll"), seconds=20)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(3):
            assert await process.wait() == 0
        await until(lambda: platform.polls_left == 1)


async def test_an_agent_that_still_waits_for_the_platform_can_be_stopped(platform: Any, run: Run, until: Until) -> None:
    platform.refusals["register"] = [JSONResponse({}, 503, headers={"Retry-After": "60"})]
    async with run() as process:
        await until(lambda: platform.asked("register"), seconds=20)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(3):
            assert await process.wait() == 0


async def test_a_job_that_was_polled_when_the_signal_came_is_neither_lost_nor_left_running(
    platform: Any, run: Run, until: Until, sample: Path, finds_one: Any
) -> None:
    """The platform answers the poll and the signal comes at once: the job is finished, or given back."""
    async with run() as process:
        await until(lambda: platform.asked("poll"), seconds=20)
        job = platform.submit(tool="bandit", target="sample")
        await until(lambda: platform.about(job))
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    assert {"result", "release"} & set(platform.about(job))


async def test_a_draining_agent_finishes_its_job_and_takes_no_other(
    platform: Any, run: Run, until: Until, sample: Path, scanner: Callable[..., Any], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    scanner(
        "bandit",
        f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\nopen(report, 'w').write('{{\"runs\": []}}')",
    )
    async with run(AGENT_MAX_CONCURRENT="2") as process:
        job = platform.submit(tool="bandit", target="sample")
        await until(lambda: "progress" in platform.about(job), seconds=20)
        await until(lambda: len(platform.asked("poll")) == 2)
        process.send_signal(signal.SIGTERM)
        await until(lambda: platform.polls_left == 1)
        platform.submit(JobType.HEALTH_CHECK)
        touch(go)
        assert await process.wait() == 0
    assert platform.result(job)["status"] == "completed"
    assert len(platform.asked("poll")) == 2
    assert "release" not in platform.about(job)


async def test_after_the_drain_s_time_jobs_are_killed_and_released(
    platform: Any, run: Run, until: Until, sample: Path, sleeps: Path, still_alive: Callable[[Path], list[int]]
) -> None:
    async with run(AGENT_DRAIN_SECONDS="0.2") as process:
        job = platform.submit(tool="bandit", target="sample")
        await until(sleeps.exists, seconds=20)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(5):
            assert await process.wait() == 0
        assert not still_alive(sleeps)
    assert "release" in platform.about(job)
    assert platform.result(job) is None


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "said"),
    [
        ((), {}, 2, ""),
        (("--platform",), {"EXPLOOP_API_URL": ""}, 2, "EXPLOOP_API_URL"),
        (("--platform", "--max-concurrent", "none"), {}, 2, "invalid int"),
        (("--platform",), {"REDIVER_BOOTSTRAP_TOKEN": ""}, 1, "REDIVER_BOOTSTRAP_TOKEN is not set"),
        (("install-scanners", "--dir", "/nowhere", "nmap"), {}, 2, "nmap"),
    ],
    ids=["no mode", "no address", "no number", "no identity", "unknown scanner"],
)
async def test_wrong_use_ends_with_2_and_an_unwanted_agent_with_1(
    command: Command, arguments: tuple[str, ...], variables: dict[str, str], code: int, said: str
) -> None:
    program, environment = command
    process = await asyncio.create_subprocess_exec(
        program, *arguments, env={**environment, **variables},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    assert process.returncode == code
    assert said in errors.decode()
    assert "Traceback" not in errors.decode()


async def test_a_refused_bootstrap_token_ends_the_agent_with_1_and_is_not_shown(
    platform: Any, command: Command
) -> None:
    platform.refusals["register"] = [JSONResponse({"code": "token_invalid", "detail": "It is not valid."}, 401)]
    program, environment = command
    process = await asyncio.create_subprocess_exec(
        program, "--platform", env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 1
    assert errors.decode() == "exploop-agent: 401 token_invalid: It is not valid.\n"
    assert b"0123456789abcdef" not in output + errors
