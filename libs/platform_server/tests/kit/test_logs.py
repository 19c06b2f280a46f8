"""Logs are JSON lines."""

import json
import logging
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import pytest

from platform_server.kit import logs

log = logs.logger("tests")


@pytest.fixture
def configured(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """As a service configures it, on the stdout that is captured; put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # `configure` closes what was there, and pytest's handlers live on.
    root.handlers.clear()
    logs.configure(service="dispatcher", level="info")
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("configured")
class TestLines:
    def test_a_line_is_an_event_with_fields(self, capsys: pytest.CaptureFixture[str]) -> None:
        log.info("agent_offline", agent=UUID(int=1), jobs=3)
        line = json.loads(capsys.readouterr().out)
        assert datetime.fromisoformat(line.pop("ts")).tzinfo is not None
        assert line == {
            "level": "info",
            "service": "dispatcher",
            "event": "agent_offline",
            "agent": str(UUID(int=1)),
            "jobs": 3,
        }

    def test_what_is_bound_stands_in_every_line_inside_and_in_none_after(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with logs.bound(request_id="abc"), logs.bound(tenant="acme") as context:
            context["agent"] = "scanner-1"
            log.info("inside")
        log.info("after")
        inside, after = (json.loads(line) for line in capsys.readouterr().out.splitlines())
        assert (inside["request_id"], inside["tenant"], inside["agent"]) == ("abc", "acme", "scanner-1")
        assert not {"request_id", "tenant", "agent"} & set(after)

    def test_a_traceback_is_a_field_and_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        try:
            raise ConnectionError("gone\nfor ever")
        except ConnectionError:
            log.exception("step_failed")
        (line,) = capsys.readouterr().out.removesuffix("\n").split("\n")
        assert "ConnectionError: gone" in json.loads(line)["traceback"]

    def test_what_a_caller_sends_cannot_make_a_line_of_its_own(self, capsys: pytest.CaptureFixture[str]) -> None:
        log.warning("refused", path='/\n{"level": "critical"}\x1b[2J\u2028')
        (line,) = capsys.readouterr().out.removesuffix("\n").split("\n")
        assert json.loads(line)["path"].startswith("/\n")

    def test_below_the_level_nothing_is_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        log.debug("chatter")
        assert capsys.readouterr().out == ""
