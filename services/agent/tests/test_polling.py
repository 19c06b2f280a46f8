"""The poll loop and the heartbeats."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from starlette.responses import JSONResponse

from exploop_agent import agent as agent_module
from exploop_agent import api
from exploop_agent.agent import KeyRefused
from platform_core.domain.jobs import JobType


async def test_a_poll_asks_for_60_seconds_jittered_downwards(
    platform: Any, agent: Callable[..., Any], until: Callable[..., Any]
) -> None:
    platform.hold_polls = False
    random.seed(1)
    async with agent():
        await until(lambda: len(platform.asked("poll")) >= 3)
    asked = [body["timeout"] for body in platform.asked("poll")]
    assert all(51 <= seconds <= 60 for seconds in asked)
    assert len(set(asked)) == len(asked)


async def test_a_poll_asks_for_as_many_jobs_as_there_are_free_slots(
    platform: Any, agent: Callable[..., Any], sleeps: Any, sample: Any, until: Callable[..., Any]
) -> None:
    platform.submit(tool="bandit", target="sample")
    platform.submit(tool="bandit", target="sample")
    async with agent(max_concurrent=5):
        await until(lambda: len(platform.asked("poll")) == 2)
    assert [body["max_jobs"] for body in platform.asked("poll")] == [5, 3]


async def test_an_agent_without_a_free_slot_does_not_poll_until_one_is_free(
    platform: Any, agent: Callable[..., Any], sleeps: Any, sample: Any, until: Callable[..., Any]
) -> None:
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(sleeps.exists)
        assert len(platform.asked("poll")) == 1
        platform.tell("cancelled", job)
        await until(lambda: len(platform.asked("poll")) == 2)


async def test_polls_that_come_back_early_and_empty_are_spaced_out(
    platform: Any, agent: Callable[..., Any], until: Callable[..., Any]
) -> None:
    """An agent that drains, and a dispatcher that does, answer at once with none: the agent must not spin."""
    platform.hold_polls = False
    async with agent():
        await until(lambda: len(platform.asked("poll")) >= 2)
        await asyncio.sleep(1)
        assert len(platform.asked("poll")) < 20


async def test_a_platform_that_is_away_is_asked_again(
    platform: Any, agent: Callable[..., Any], until: Callable[..., Any]
) -> None:
    platform.refusals["poll"] = [JSONResponse({}, 503), JSONResponse({}, 429, headers={"Retry-After": "0"})]
    async with agent():
        await until(lambda: len(platform.asked("poll")) == 3)


async def test_a_platform_that_vanishes_in_mid_poll_is_found_again(
    platform: Any, agent: Callable[..., Any], until: Callable[..., Any]
) -> None:
    async with agent():
        await until(lambda: len(platform.asked("poll")) == 1)
        await platform.stop()
        await platform.start()
        await until(lambda: len(platform.asked("poll")) == 2)


async def test_a_key_that_is_refused_ends_the_agent_and_its_scanners(
    platform: Any, agent: Callable[..., Any], sleeps: Any, sample: Any, until: Callable[..., Any], still_alive: Any
) -> None:
    platform.submit(tool="bandit", target="sample")
    async with agent(max_concurrent=2) as running:
        await until(sleeps.exists)
        await until(lambda: len(platform.asked("poll")) == 2)
        platform.refusals["poll"] = [JSONResponse({"code": "key_invalid"}, 401)]
        platform.submit(JobType.HEALTH_CHECK)
        with pytest.raises(KeyRefused):
            await running.task
        await until(lambda: not still_alive(sleeps))


async def test_a_disabled_agent_asks_again_later(
    platform: Any, agent: Callable[..., Any], until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "pause", lambda attempt, asked=None: 0.01)
    platform.refusals["poll"] = [JSONResponse({"code": "agent_disabled"}, 403)]
    async with agent():
        await until(lambda: len(platform.asked("poll")) == 2)


@pytest.mark.parametrize("attempt", range(12))
def test_a_pause_grows_to_30_seconds_and_is_jittered(attempt: int) -> None:
    pauses = [api.pause(attempt) for _ in range(200)]
    most = min(30, 0.5 * 2**attempt)
    assert max(pauses) <= most
    assert min(pauses) < most / 3
    assert max(pauses) > most * 2 / 3


async def test_an_idle_agent_sends_no_heartbeat_and_holds_no_event_stream(
    platform: Any, agent: Callable[..., Any], until: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "_BEAT_SECONDS", 0.01)
    async with agent():
        await until(lambda: platform.asked("poll"))
        await asyncio.sleep(0.3)
        assert {called for called, _ in platform.calls} == {"poll"}


async def test_an_agent_with_jobs_beats_and_names_them(
    platform: Any,
    agent: Callable[..., Any],
    sleeps: Any,
    sample: Any,
    until: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(agent_module, "_BEAT_SECONDS", 0.01)
    jobs = {str(platform.submit(tool="bandit", target="sample")) for _ in range(2)}
    async with agent(max_concurrent=2):
        await until(lambda: len(platform.asked("heartbeat")) >= 2)
    beat = platform.asked("heartbeat")[-1]
    assert set(beat["running_jobs"]) == jobs
    assert beat["version"] == "1.0.0"
    assert all(0 <= beat[f"{what}_percent"] <= 100 for what in ("cpu", "memory", "disk"))


async def test_the_event_stream_is_closed_when_the_last_job_is_done(
    platform: Any, agent: Callable[..., Any], sleeps: Any, sample: Any, until: Callable[..., Any]
) -> None:
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(lambda: platform.listeners == 1)
        platform.tell("cancelled", job)
        await until(lambda: "release" in platform.about(job))
        await until(lambda: platform.listeners == 0)


async def test_an_event_that_cannot_be_read_stops_nothing(
    platform: Any, agent: Callable[..., Any], sleeps: Any, sample: Any, until: Callable[..., Any]
) -> None:
    job = platform.submit(tool="bandit", target="sample")
    async with agent():
        await until(lambda: platform.listeners == 1)
        platform.events.put_nowait(b"event: cancelled\ndata: {}\n\nevent: news\ndata: x\n\nevent: drain\ndata: {}\n\n")
        platform.tell("cancelled", job)
        await until(lambda: "release" in platform.about(job))
