"""Agents' keys: form first, ban before hashing, a look-up trusted while changes are followed, or for a second."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from math import inf
from uuid import UUID

import pytest

from platform_core.domain import tokens
from platform_core.domain.agents import AdminState
from platform_core.domain.errors import (
    AgentDisabled,
    AgentTypeMismatch,
    Banned,
    DomainError,
    KeyInvalid,
    Unauthenticated,
    Unavailable,
)
from platform_core.domain.ids import AgentId
from platform_core.domain.scheduling import Profile
from platform_server.kit.agent_auth import AgentKeys
from platform_server.signals.connection import connect
from platform_server.signals.limiter import Limiter, LimiterSettings
from platform_server.store.agents import Identity

HERE: IPv4Address | IPv6Address = ip_address("203.0.113.7")
Keys = AgentKeys[Identity]
KEY = tokens.new_agent_key(b"k" * 32)
AGENT = AgentId(UUID(int=1))


@dataclass
class Agents:
    """The agents that there are, by their keys' hashes; counts how often they are asked for."""

    by_hash: dict[str, Identity] = field(default_factory=dict)
    look_ups: int = 0
    away: bool = False

    async def find(self, key_hash: str) -> Identity | None:
        self.look_ups += 1
        if self.away:
            raise Unavailable(retry_after=timedelta(seconds=2))
        return self.by_hash.get(key_hash)

    def add(
        self, state: AdminState = AdminState.ENABLED, *, is_platform_agent: bool = True, valid_seconds: float = inf
    ) -> None:
        profile = Profile(frozenset(), frozenset(), "")
        self.by_hash[tokens.secret_hash(KEY)] = Identity(
            AGENT, state, is_platform_agent, tokens.key_prefix(KEY), profile, 1, valid_seconds
        )


class Clock:
    """The process's, moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def agents() -> Agents:
    return Agents()


@pytest.fixture
async def limiter(redis: str) -> AsyncIterator[Limiter]:
    async with connect(redis) as client:
        yield Limiter(client, LimiterSettings())


@pytest.fixture
def keys(agents: Agents, limiter: Limiter) -> Keys:
    return AgentKeys(agents.find, limiter)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def refusal(keys: Keys, raw: str | None) -> DomainError:
    with pytest.raises(DomainError) as refused:
        await keys.authenticate(raw, HERE)
    return refused.value


async def test_a_key_tells_its_agent(keys: Keys, agents: Agents) -> None:
    agents.add()
    assert (await keys.authenticate(KEY, HERE)).agent == AGENT


async def test_a_look_up_is_trusted_for_a_second(keys: Keys, agents: Agents, monkeypatch: pytest.MonkeyPatch) -> None:
    agents.add()
    await keys.authenticate(KEY, HERE)
    agents.by_hash.clear()
    await keys.authenticate(KEY, HERE)
    assert agents.look_ups == 1
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 1.01)
    assert isinstance(await refusal(keys, KEY), KeyInvalid)


async def test_while_changes_are_followed_a_known_key_costs_no_look_up(
    keys: Keys, agents: Agents, clock: Clock
) -> None:
    agents.add()
    keys.follow_from(clock.now)
    for _ in range(100):
        keys.follow([], as_of=clock.now)
        clock.now += 0.9
        await keys.authenticate(KEY, HERE)
    assert agents.look_ups == 1


async def test_a_change_that_is_told_is_looked_up(keys: Keys, agents: Agents, clock: Clock) -> None:
    agents.add()
    keys.follow_from(clock.now)
    await keys.authenticate(KEY, HERE)
    agents.add(AdminState.DISABLED)
    clock.now += 5
    keys.follow([AGENT], as_of=clock.now)
    assert isinstance(await refusal(keys, KEY), AgentDisabled)


async def test_after_a_second_without_news_of_changes_a_key_is_looked_up(
    keys: Keys, agents: Agents, clock: Clock
) -> None:
    agents.add()
    keys.follow_from(clock.now)
    await keys.authenticate(KEY, HERE)
    clock.now += 5
    keys.follow([], as_of=clock.now)
    agents.by_hash.clear()
    clock.now += 1.01
    assert isinstance(await refusal(keys, KEY), KeyInvalid)


async def test_what_was_looked_up_before_changes_were_followed_is_trusted_for_a_second(
    keys: Keys, agents: Agents, clock: Clock
) -> None:
    agents.add()
    await keys.authenticate(KEY, HERE)
    clock.now += 0.1
    keys.follow_from(clock.now)
    clock.now += 1
    keys.follow([], as_of=clock.now)
    agents.by_hash.clear()
    assert isinstance(await refusal(keys, KEY), KeyInvalid)


async def test_who_lost_track_trusts_for_a_second(keys: Keys, agents: Agents, clock: Clock) -> None:
    agents.add()
    keys.follow_from(clock.now)
    await keys.authenticate(KEY, HERE)
    clock.now += 2
    keys.follow([], as_of=clock.now)
    keys.lose_track()
    await keys.authenticate(KEY, HERE)
    assert agents.look_ups == 2


async def test_a_key_that_expires_is_trusted_until_then(keys: Keys, agents: Agents, clock: Clock) -> None:
    agents.add(valid_seconds=10)
    keys.follow_from(clock.now)
    await keys.authenticate(KEY, HERE)
    agents.by_hash.clear()
    clock.now += 9.9
    keys.follow([], as_of=clock.now)
    await keys.authenticate(KEY, HERE)
    clock.now += 0.2
    assert isinstance(await refusal(keys, KEY), KeyInvalid)


async def test_a_key_is_looked_up_every_5_minutes_to_note_its_use(keys: Keys, agents: Agents, clock: Clock) -> None:
    agents.add()
    keys.follow_from(clock.now)
    await keys.authenticate(KEY, HERE)
    clock.now += 301
    keys.follow([], as_of=clock.now)
    await keys.authenticate(KEY, HERE)
    assert agents.look_ups == 2


async def test_a_look_up_that_a_change_overtook_is_not_remembered(agents: Agents, limiter: Limiter) -> None:
    async def find(key_hash: str) -> Identity | None:
        found = await agents.find(key_hash)
        known.forget(AGENT)
        return found

    known: Keys = AgentKeys(find, limiter)
    agents.add()
    await known.authenticate(KEY, HERE)
    await known.authenticate(KEY, HERE)
    assert agents.look_ups == 2


async def test_what_is_forgotten_is_looked_up_anew(keys: Keys, agents: Agents) -> None:
    agents.add()
    await keys.authenticate(KEY, HERE)
    agents.add(AdminState.DISABLED)
    keys.forget(AGENT)
    assert isinstance(await refusal(keys, KEY), AgentDisabled)
    agents.add()
    keys.forget(AGENT)
    assert (await keys.authenticate(KEY, HERE)).agent == AGENT


async def test_a_draining_agent_is_still_let_in(keys: Keys, agents: Agents) -> None:
    agents.add(AdminState.DRAINING)
    assert (await keys.authenticate(KEY, HERE)).admin_state is AdminState.DRAINING


async def test_an_agent_that_is_no_platform_agent_is_refused(keys: Keys, agents: Agents) -> None:
    agents.add(is_platform_agent=False)
    assert isinstance(await refusal(keys, KEY), AgentTypeMismatch)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("", "key_malformed"),
        ("rdv_agent_", "key_malformed"),
        ("rdv_agent_" + "0" * 72, "key_checksum"),
        (KEY + "\n", "key_malformed"),
        (KEY.upper(), "key_malformed"),
        (tokens.new_agent_key(b"u" * 32), "key_unknown"),
    ],
)
async def test_a_bad_key_is_refused_with_its_reason(keys: Keys, agents: Agents, raw: str, reason: str) -> None:
    refused = await refusal(keys, raw)
    assert isinstance(refused, KeyInvalid)
    assert refused.reason == reason
    assert agents.look_ups == (1 if reason == "key_unknown" else 0)


async def test_a_missing_key_is_no_try(keys: Keys) -> None:
    for _ in range(10):
        assert isinstance(await refusal(keys, None), Unauthenticated)


async def test_the_fifth_failure_is_401_and_then_a_right_key_is_429_too(keys: Keys, agents: Agents) -> None:
    agents.add()
    refusals = [type(await refusal(keys, f"bad-{n}")) for n in range(6)]
    assert refusals == [KeyInvalid] * 5 + [Banned]
    assert isinstance(await refusal(keys, KEY), Banned)


async def test_the_ban_is_checked_before_any_look_up(keys: Keys, agents: Agents) -> None:
    agents.add()
    for n in range(5):
        await refusal(keys, f"bad-{n}")
    await refusal(keys, KEY)
    assert agents.look_ups == 0


async def test_a_verified_key_passes_during_a_ban(keys: Keys, agents: Agents) -> None:
    agents.add()
    await keys.authenticate(KEY, HERE)
    keys.forget(AGENT)
    for n in range(5):
        await refusal(keys, f"bad-{n}")
    assert (await keys.authenticate(KEY, HERE)).agent == AGENT


async def test_a_refused_agent_is_no_failure_to_authenticate(keys: Keys, agents: Agents) -> None:
    agents.add(AdminState.DISABLED)
    for _ in range(10):
        assert isinstance(await refusal(keys, KEY), AgentDisabled)
        keys.forget(AGENT)


async def test_with_postgres_away_nobody_is_banned_for_it(keys: Keys, agents: Agents) -> None:
    agents.add()
    agents.away = True
    for _ in range(10):
        assert isinstance(await refusal(keys, KEY), Unavailable)
    agents.away = False
    assert (await keys.authenticate(KEY, HERE)).agent == AGENT


async def test_the_memory_follows_the_agents_that_are_there(
    keys: Keys, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents.add()
    await keys.authenticate(KEY, HERE)
    keys.sweep()
    await keys.authenticate(KEY, HERE)
    assert agents.look_ups == 1
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 902)
    keys.sweep()
    monkeypatch.undo()
    await keys.authenticate(KEY, HERE)
    assert agents.look_ups == 2


async def test_a_key_that_was_right_a_while_ago_is_looked_up_without_asking_the_limiter(
    agents: Agents, limiter: Limiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: Keys = AgentKeys(agents.find, limiter)
    agents.add()
    await keys.authenticate(KEY, HERE)
    now = time.monotonic()
    monkeypatch.setattr(limiter, "reserve", None)
    monkeypatch.setattr(time, "monotonic", lambda: now + 2)
    await keys.authenticate(KEY, HERE)
    assert agents.look_ups == 2


async def test_a_key_that_is_right_no_more_counts_as_a_failure(
    keys: Keys, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents.add()
    await keys.authenticate(KEY, HERE)
    agents.by_hash.clear()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2)
    assert isinstance(await refusal(keys, KEY), KeyInvalid)
    monkeypatch.undo()
    refusals = [type(await refusal(keys, f"bad-{n}")) for n in range(5)]
    assert refusals == [KeyInvalid] * 4 + [Banned]
