"""Logs are JSON lines."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from io import StringIO
from typing import Any
from uuid import UUID

import pytest

from platform_server.kit import logs

log = logs.logger("tests")


Told = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """The lines of a service that has configured its logs; put back afterwards."""
    root = logging.getLogger()
    handlers, level, out = root.handlers[:], root.level, StringIO()
    # `configure` closes what was there, and pytest's handlers live on.
    root.handlers.clear()
    monkeypatch.setattr(sys, "stdout", out)
    logs.configure(service="dispatcher", level="info")
    yield lambda: [json.loads(line) for line in out.getvalue().split("\n") if line]
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_is_an_event_with_fields(told: Told) -> None:
    log.info("agent_offline", agent=UUID(int=1), jobs=3)
    (line,) = told()
    assert datetime.fromisoformat(line.pop("ts")).tzinfo is not None
    assert line == {
        "level": "info",
        "service": "dispatcher",
        "event": "agent_offline",
        "agent": str(UUID(int=1)),
        "jobs": 3,
    }


def test_what_is_bound_stands_in_every_line_inside_and_in_none_after(told: Told) -> None:
    with logs.bound(request_id="abc"), logs.bound(tenant="acme") as context:
        context["agent"] = "scanner-1"
        log.info("inside")
    log.info("after")
    inside, after = told()
    assert (inside["request_id"], inside["tenant"], inside["agent"]) == ("abc", "acme", "scanner-1")
    assert not {"request_id", "tenant", "agent"} & set(after)


def test_a_traceback_is_a_field_and_one_line(told: Told) -> None:
    try:
        raise ConnectionError("gone\nfor ever")
    except ConnectionError:
        log.exception("step_failed")
    (line,) = told()
    assert "ConnectionError: gone" in line["traceback"]


def test_what_a_caller_sends_cannot_make_a_line_of_its_own(told: Told) -> None:
    log.warning("refused", path='/\n{"level": "critical"}\x1b[2J\u2028')
    (line,) = told()
    assert line["path"].startswith("/\n")


def test_below_the_level_nothing_is_told(told: Told) -> None:
    log.debug("chatter")
    assert told() == []
