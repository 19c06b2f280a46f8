"""Whose credentials changed: told to whoever asks from the snapshot that it saw last, once, and none forgotten."""

from datetime import timedelta

import pytest

from platform_core.domain.ids import AgentId
from platform_server.store import agents
from platform_server.store.agents import Changes
from platform_server.store.connection import acquire, transaction
from world import World

OF_AGENTS = [
    "UPDATE agents SET admin_state = 'disabled' WHERE id = $1",
    "UPDATE agents SET admin_state = 'draining' WHERE id = $1",
    "UPDATE agents SET is_platform_agent = NULL WHERE id = $1",
    "UPDATE agents SET capabilities = '{nmap}' WHERE id = $1",
    "UPDATE agents SET tools = '{nmap}' WHERE id = $1",
    "UPDATE agents SET region = 'eu-west-1' WHERE id = $1",
    "UPDATE agents SET max_concurrent = 7 WHERE id = $1",
    "UPDATE agents SET deleted_at = now() WHERE id = $1",
    "UPDATE agent_keys SET expires_at = now() WHERE agent_id = $1",
    "DELETE FROM agent_keys WHERE agent_id = $1",
]


async def changes(world: World, seen: str | None = None) -> Changes:
    async with acquire(world.pool) as conn:
        return await agents.changes(conn, seen)


@pytest.mark.parametrize("change", OF_AGENTS)
async def test_a_change_of_what_a_key_may_do_is_told_once(world: World, change: str) -> None:
    agent = await world.agent()
    seen = (await changes(world)).seen
    await world.execute(change, agent)
    told = await changes(world, seen)
    assert told.agents == [agent]
    assert (await changes(world, told.seen)).agents == []


async def test_signs_of_life_and_the_use_of_a_key_are_no_changes(world: World) -> None:
    agent = await world.agent()
    seen = (await changes(world)).seen
    await world.seen(agent, ago=5, online=True)
    await world.execute("UPDATE agent_keys SET last_used_at = now() WHERE agent_id = $1", agent)
    await world.execute("UPDATE agents SET version = '2' WHERE id = $1", agent)
    assert (await changes(world, seen)).agents == []


async def test_a_change_is_told_after_its_commit_however_long_its_transaction_took(world: World) -> None:
    slow, quick = await world.agent("slow"), await world.agent("quick")
    seen = (await changes(world)).seen
    async with transaction(world.pool) as conn:
        await conn.execute(OF_AGENTS[0], slow)
        await world.execute(OF_AGENTS[0], quick)
        told = await changes(world, seen)
        assert told.agents == [quick]
    assert (await changes(world, told.seen)).agents == [slow]


async def test_several_changes_of_an_agent_are_one(world: World) -> None:
    agent = await world.agent()
    seen = (await changes(world)).seen
    for change in OF_AGENTS[:4]:
        await world.execute(change, agent)
    assert (await changes(world, seen)).agents == [agent]


async def test_changes_that_everybody_has_read_are_cleared_away_by_the_next(world: World) -> None:
    first, second = await world.agent("first"), await world.agent("second")
    await world.execute(OF_AGENTS[0], first)
    await world.execute("UPDATE agent_changes SET changed_at = changed_at - $1::interval", timedelta(hours=2))
    await world.execute(OF_AGENTS[0], second)
    left = await world.pool.fetch("SELECT agent_id FROM agent_changes")
    assert [AgentId(row["agent_id"]) for row in left] == [second]
