"""No result is lost: neither by a platform that is away, nor by a restart."""

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse

from exploop_agent.settings import Settings

Agent = Callable[..., Any]
Until = Callable[..., Any]


def kept(settings: Settings) -> list[Path]:
    return list((settings.state / "outbox").glob("*"))


async def test_a_result_is_delivered_once_the_platform_is_back(
    platform: Any, agent: Agent, finds_one: Any, sample: Path, settings: Settings, until: Until
) -> None:
    platform.refusals["result"] = [JSONResponse({}, 503), JSONResponse({}, 500)]
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(lambda: len(platform.asked(f"result/{job}")) == 3)
        await until(lambda: not kept(settings))


async def test_a_result_survives_a_restart_of_the_agent(
    platform: Any, agent: Agent, finds_one: Any, sample: Path, settings: Settings, until: Until
) -> None:
    platform.refusals["result"] = [JSONResponse({}, 503, headers={"Retry-After": "60"})]
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(lambda: platform.result(job))
    (file,) = kept(settings)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "release" not in platform.about(job)
    async with agent():
        await until(lambda: len(platform.asked(f"result/{job}")) == 2)
        await until(lambda: not kept(settings))
    first, second = platform.asked(f"result/{job}")
    assert first == second
    assert first["status"] == "completed"


async def test_a_drain_that_ends_before_delivery_keeps_the_result_and_releases_nothing(
    platform: Any, agent: Agent, finds_one: Any, sample: Path, settings: Settings, until: Until
) -> None:
    from datetime import timedelta

    platform.refusals["result"] = [JSONResponse({}, 503, headers={"Retry-After": "60"})]
    job = platform.submit(tool="bandit", target="sample")
    async with agent(drain=timedelta(seconds=0)) as running:
        await until(lambda: platform.result(job))
        await running.stop()
    assert len(kept(settings)) == 1
    assert "release" not in platform.about(job)


async def test_a_job_that_is_cancelled_while_its_result_waits_is_left_to_the_platform_s_answer(
    platform: Any, agent: Agent, finds_one: Any, sample: Path, settings: Settings, until: Until
) -> None:
    platform.refusals["result"] = [
        JSONResponse({}, 503, headers={"Retry-After": "1"}),
        JSONResponse({"code": "job_cancelled"}, 409),
    ]
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(lambda: platform.result(job))
        platform.tell("cancelled", job)
        await until(lambda: len(platform.asked(f"result/{job}")) == 2)
        await until(lambda: not kept(settings))
    assert "release" not in platform.about(job)


async def test_a_result_that_is_refused_for_good_is_forgotten(
    platform: Any, agent: Agent, finds_one: Any, sample: Path, settings: Settings, until: Until
) -> None:
    platform.refusals["result"] = [JSONResponse({"code": "attempt_superseded"}, 409)]
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(lambda: platform.result(job))
        await until(lambda: not kept(settings))
    assert len(platform.asked(f"result/{job}")) == 1


async def test_a_leftover_that_cannot_be_read_keeps_nobody_from_working(
    platform: Any, agent: Agent, finds_one: Any, sample: Path, settings: Settings, until: Until
) -> None:
    (settings.state / "outbox").mkdir()
    (settings.state / "outbox" / "broken.result").write_bytes(b"\xc1")
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(lambda: platform.result(job))


async def test_a_result_that_cannot_be_kept_is_still_delivered(
    platform: Any, agent: Agent, finds_one: Any, sample: Path, settings: Settings, until: Until
) -> None:
    """A full disk; here a folder that is gone, which root cannot write into either."""
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        (settings.state / "outbox").rmdir()
        await until(lambda: platform.result(job))
    assert platform.result(job)["status"] == "completed"
