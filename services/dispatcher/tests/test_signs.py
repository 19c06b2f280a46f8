"""Signs of life: heard at any time, written once a second."""

import time

import pytest

from dispatcher.signs import Signs
from platform_core.domain.ids import AgentId
from platform_core.domain.scheduling import Profile
from platform_server.store import claims
from world import World


@pytest.fixture
def signs(world: World) -> Signs:
    return Signs(world.pool, held_every=15)


@pytest.fixture
async def agent(world: World) -> AgentId:
    """Last seen long ago."""
    agent = await world.agent()
    await world.seen(agent, ago=50, online=True)
    return agent


async def test_what_was_heard_is_written_by_the_next_step(world: World, signs: Signs, agent: AgentId) -> None:
    signs.heard([agent, agent])
    assert not await _fresh(world, agent)
    assert await signs.write() == 0
    assert await _fresh(world, agent)


async def test_a_sign_is_fresh_for_5_seconds(
    world: World, signs: Signs, agent: AgentId, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs.heard([agent])
    await signs.write()
    now = time.monotonic()
    for later, written in ((4.9, False), (5.1, True)):
        await world.seen(agent, ago=50, online=True)
        monkeypatch.setattr(time, "monotonic", lambda later=later: now + later)
        signs.heard([agent])
        await signs.write()
        assert await _fresh(world, agent) is written


async def test_a_new_profile_is_written_at_once_and_the_same_again_with_the_next_step(
    world: World, signs: Signs, agent: AgentId, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await _profile(world, "one"), await _profile(world, "other")
    for profile in (one, other):
        await signs.offers(agent, profile)
        assert await _offered(world, agent) == profile
    # Another dispatcher noted another profile meanwhile.
    await Signs(world.pool, held_every=15).offers(agent, one)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 6)
    await signs.offers(agent, other)
    assert await _offered(world, agent) == one
    await signs.write()
    assert await _offered(world, agent) == other


async def test_a_report_does_not_change_what_was_offered(world: World, signs: Signs, agent: AgentId) -> None:
    profile = await _profile(world, "one")
    await signs.offers(agent, profile)
    await signs.forget_old()
    signs.heard([agent])
    await signs.write()
    assert await _offered(world, agent) == profile


async def test_what_could_not_be_written_is_written_by_a_later_step(
    world: World, signs: Signs, agent: AgentId, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs.heard([agent])
    await world.pool.execute("ALTER TABLE agent_presence RENAME TO elsewhere")
    with pytest.raises(Exception, match="does not exist"):
        await signs.write()
    await world.pool.execute("ALTER TABLE elsewhere RENAME TO agent_presence")
    await signs.write()
    assert await _fresh(world, agent)


async def test_a_held_poll_is_a_sign_of_life_every_15_seconds(
    world: World, signs: Signs, agent: AgentId, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = await _profile(world, "one")
    await signs.offers(agent, profile)
    now = time.monotonic()
    for later, written in ((14.9, False), (15.1, True)):
        await world.seen(agent, ago=50, online=True)
        monkeypatch.setattr(time, "monotonic", lambda later=later: now + later)
        await signs.held({agent: profile})
        assert await _fresh(world, agent) is written


async def test_of_more_held_polls_than_a_step_writes_the_longest_silent_come_first(
    world: World, signs: Signs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.signs._HELD_AT_ONCE", 2)
    profile, now = await _profile(world, "one"), time.monotonic()
    held = {await world.agent(f"scanner-{n}"): profile for n in range(5)}
    for n, agent in enumerate(held):
        monkeypatch.setattr(time, "monotonic", lambda n=n: now - n)
        await signs.offers(agent, profile)
        await world.seen(agent, ago=50, online=True)
    monkeypatch.setattr(time, "monotonic", lambda: now + 20)
    for fresh in (2, 4, 5, 5):
        await signs.held(held)
        assert [await _fresh(world, agent) for agent in held] == [False] * (5 - fresh) + [True] * fresh


async def test_the_memory_follows_the_agents_that_are_there(
    world: World, signs: Signs, agent: AgentId, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = await _profile(world, "one")
    await signs.offers(agent, profile)
    await world.seen(agent, ago=50, online=True)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 120)
    assert await signs.forget_old() == 0
    await signs.offers(agent, profile)
    assert await _fresh(world, agent), "an agent that nobody remembers is noted at once"


async def _profile(world: World, tool: str) -> int:
    async with world.pool.acquire() as conn:
        return await claims.intern_profile(conn, Profile(frozenset({tool}), frozenset(), ""))


async def _fresh(world: World, agent: AgentId) -> bool:
    query = "SELECT last_seen_at > clock_timestamp() - interval '40 seconds' FROM agent_presence WHERE agent_id = $1"
    return bool(await world.pool.fetchval(query, agent))


async def _offered(world: World, agent: AgentId) -> int | None:
    found: int | None = await world.pool.fetchval("SELECT profile_id FROM agent_presence WHERE agent_id = $1", agent)
    return found
