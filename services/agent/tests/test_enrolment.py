"""How an agent gets its key, keeps it and loses it."""

import asyncio
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse

from exploop_agent import enrolment
from exploop_agent.api import Api, Refused
from exploop_agent.app import register_and_work
from exploop_agent.enrolment import KeyFile, NoIdentity, identify
from exploop_agent.settings import Settings
from exploop_agent.stopping import Stopped, Stopping


def problem(status: int, code: str) -> JSONResponse:
    return JSONResponse({"code": code, "errors": [{"field": "region", "message": "Must be a name."}]}, status)


async def identified(settings: Settings) -> str | None:
    api = Api(settings.api_url)
    try:
        await identify(api, settings, capabilities=("bandit", "nmap"), tools=("bandit",))
    finally:
        await api.aclose()
    return api.key


def test_the_key_file_is_for_our_eyes_only(tmp_path: Path) -> None:
    KeyFile(tmp_path / "state").write("rdv_agent_1")
    kept = tmp_path / "state" / "agent.key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert KeyFile(tmp_path / "state").read() == "rdv_agent_1"


def test_a_leftover_of_a_broken_write_does_not_open_the_key_file(tmp_path: Path) -> None:
    (tmp_path / "agent.new").touch(mode=0o644)
    KeyFile(tmp_path).write("rdv_agent_1")
    assert stat.S_IMODE((tmp_path / "agent.key").stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["agent.key"]


def test_a_key_is_replaced_whole_and_forgotten(tmp_path: Path) -> None:
    file = KeyFile(tmp_path)
    file.write("rdv_agent_long")
    file.write("rdv_agent_2")
    assert file.read() == "rdv_agent_2"
    file.forget()
    file.forget()
    assert file.read() is None


async def test_an_agent_registers_once_and_keeps_its_key(platform: Any, settings: Settings) -> None:
    told = replace(settings, labels=("gpu",), max_concurrent=4)
    assert await identified(told) == "rdv_agent_1"
    assert await identified(told) == "rdv_agent_1"
    (body,) = platform.asked("register")
    assert body.pop("hostname")
    assert body == {
        "bootstrap_token": "abc123.0123456789abcdef", "name": "scanner-1", "capabilities": ["bandit", "nmap"],
        "tools": ["bandit"], "labels": ["gpu"], "region": "local", "max_concurrent": 4, "version": "1.0.0",
    }  # fmt: skip


async def test_registration_waits_while_the_platform_is_away(
    platform: Any, settings: Settings, until: Callable[..., Any]
) -> None:
    platform.refusals["register"] = [JSONResponse({}, 503, headers={"Retry-After": "0"}), JSONResponse({}, 502)]
    await platform.stop()
    waiting = asyncio.create_task(identified(settings))
    await asyncio.sleep(0)
    assert not waiting.done()
    await platform.start()
    assert await waiting == "rdv_agent_3"


async def test_a_name_that_is_taken_is_waited_for(
    platform: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enrolment, "_NAME_TAKEN_PAUSE", 0)
    platform.refusals["register"] = [problem(409, "name_taken")]
    assert await identified(settings) == "rdv_agent_2"


async def test_a_bad_token_is_not_tried_again_and_the_operator_is_told_why(platform: Any, settings: Settings) -> None:
    platform.refusals["register"] = [problem(401, "token_invalid")]
    with pytest.raises(Refused, match=r"401 token_invalid: region: Must be a name\."):
        await identified(settings)
    assert len(platform.asked("register")) == 1


async def test_without_key_and_token_there_is_no_identity(settings: Settings) -> None:
    with pytest.raises(NoIdentity):
        await identified(replace(settings, bootstrap_token=None))


async def test_an_agent_whose_key_is_refused_registers_anew(
    platform: Any, workshop: Callable[..., Any], settings: Settings, until: Callable[..., Any]
) -> None:
    KeyFile(settings.state).write("rdv_agent_old")
    platform.refusals["poll"] = [problem(401, "key_invalid")]
    made, stopping = workshop(key=None), Stopping()
    working = asyncio.create_task(register_and_work(made, stopping))
    await until(lambda: len(platform.asked("poll")) == 2)
    assert platform.keys == ["rdv_agent_old", None, "rdv_agent_1"]
    assert KeyFile(settings.state).read() == "rdv_agent_1"
    stopping.tell()
    await working
    await made.api.aclose()


async def test_an_agent_that_waits_for_the_platform_can_be_stopped(
    platform: Any, workshop: Callable[..., Any], settings: Settings
) -> None:
    await platform.stop()
    made, stopping = workshop(key=None), Stopping()
    working = asyncio.create_task(register_and_work(made, stopping))
    await asyncio.sleep(0)
    stopping.tell()
    with pytest.raises(Stopped):
        await working
    await made.api.aclose()
