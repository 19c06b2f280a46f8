"""Which signs of life were noted a moment ago."""

import time
from uuid import UUID

import pytest

from dispatcher.signs import Signs
from platform_core.domain.ids import AgentId

AGENT, OTHER = AgentId(UUID(int=1)), AgentId(UUID(int=2))


def test_an_agent_that_was_never_noted_is_stale() -> None:
    signs = Signs()
    signs.noted([AGENT])
    assert signs.stale([AGENT, OTHER]) == {OTHER}


def test_a_sign_is_fresh_for_5_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    signs = Signs()
    now = time.monotonic()
    signs.noted([AGENT])
    for later, stale in ((4.9, set()), (5.1, {AGENT})):
        monkeypatch.setattr(time, "monotonic", lambda later=later: now + later)
        assert signs.stale([AGENT]) == stale


def test_a_poll_is_noted_when_its_profile_is_another_one_however_fresh_the_sign() -> None:
    signs = Signs()
    assert signs.offered_anew(AGENT, 1)
    signs.noted([AGENT], profile=1)
    assert not signs.offered_anew(AGENT, 1)
    assert signs.offered_anew(AGENT, 2)
    signs.noted([AGENT])
    assert not signs.offered_anew(AGENT, 1), "a report does not change what was offered"


async def test_the_memory_follows_the_agents_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    signs = Signs()
    signs.noted([AGENT])
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60)
    assert await signs.forget_old() == 0
    monkeypatch.undo()
    assert signs.stale([AGENT]) == {AGENT}
