"""Agents and their keys in Postgres."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from platform_core.domain.agents import AdminState, AgentStatus
from platform_core.domain.errors import Conflict, NameTaken, NotFound
from platform_core.domain.ids import AgentId
from platform_core.domain.scheduling import Profile
from platform_server.kit.clock import new_id
from platform_server.store import agents
from platform_server.store.connection import Conn

PROFILE = Profile(frozenset({"nmap", "nuclei"}), frozenset({"nuclei"}), "us-east-1")


def key(letter: str) -> agents.Key:
    return agents.Key(hash=letter * 64, prefix="rdv_agent_" + letter * 8)


def described(name: str = "scanner-1", **other: Any) -> agents.Description:
    facts: dict[str, Any] = {
        "capabilities": ["nmap", "nuclei"],
        "tools": ["nuclei"],
        "labels": [],
        "region": "us-east-1",
        "max_concurrent": 4,
        "version": "1.0.0",
        "hostname": None,
    }
    return agents.Description(**{"name": name, **facts, **other})


async def made(conn: Conn, name: str = "scanner-1", *, letter: str = "a", **other: object) -> AgentId:
    agent = AgentId(new_id())
    assert await agents.insert_if_name_free(conn, agent, described(name, **other), key(letter))
    return agent


async def set_online(conn: Conn, agent: AgentId) -> None:
    await conn.execute("UPDATE agent_presence SET online = true, last_seen_at = now() WHERE agent_id = $1", agent)


async def test_a_key_tells_its_agent_and_notes_its_use(conn: Conn) -> None:
    agent = await made(conn)
    assert await agents.identity(conn, "a" * 64) == agents.Identity(
        agent, AdminState.ENABLED, True, "rdv_agent_aaaaaaaa", PROFILE, 4
    )
    assert await conn.fetchval("SELECT last_used_at IS NOT NULL FROM agent_keys") is True


async def test_the_use_of_a_key_is_written_once_in_five_minutes(conn: Conn) -> None:
    await made(conn)
    await agents.identity(conn, "a" * 64)
    first = await conn.fetchval("SELECT last_used_at FROM agent_keys")
    await agents.identity(conn, "a" * 64)
    assert await conn.fetchval("SELECT last_used_at FROM agent_keys") == first


async def test_an_unknown_key_has_no_agent(conn: Conn) -> None:
    assert await agents.identity(conn, "f" * 64) is None


async def test_an_agent_of_a_tenant_is_told_apart_from_a_platform_agent(conn: Conn) -> None:
    agent = await made(conn)
    await conn.execute("UPDATE agents SET is_platform_agent = NULL WHERE id = $1", agent)
    identity = await agents.identity(conn, "a" * 64)
    assert identity is not None
    assert identity.is_platform_agent is False


async def test_a_name_belongs_to_one_live_agent(conn: Conn) -> None:
    agent = await made(conn)
    assert not await agents.insert_if_name_free(conn, AgentId(new_id()), described(), key("b"))
    await agents.delete(conn, agent)
    assert await agents.insert_if_name_free(conn, AgentId(new_id()), described(), key("b"))


async def test_taking_over_an_offline_agent_replaces_its_key_and_what_it_says_of_itself(conn: Conn) -> None:
    agent = await made(conn)
    assert await agents.take_over_if_offline(conn, described(region="eu-west-1"), key("b")) == agent
    assert await agents.identity(conn, "a" * 64) is None
    assert await agents.identity(conn, "b" * 64) is not None
    assert (await agents.find(conn, agent)).region == "eu-west-1"


@pytest.mark.parametrize("state", ["online", "draining", "disabled"])
async def test_only_an_offline_agent_is_taken_over(conn: Conn, state: str) -> None:
    agent = await made(conn)
    await set_online(conn, agent)
    if state != "online":
        await conn.execute("UPDATE agents SET admin_state = $2 WHERE id = $1", agent, state)
    with pytest.raises(NameTaken):
        await agents.take_over_if_offline(conn, described(), key("b"))


async def test_a_rotation_leaves_the_key_before_it_for_the_grace_period_and_ends_older_ones(conn: Conn) -> None:
    agent = await made(conn)
    await agents.rotate_key(conn, agent, key("b"), grace=timedelta(hours=1))
    assert await agents.identity(conn, "a" * 64) is not None
    await agents.rotate_key(conn, agent, key("c"), grace=timedelta(hours=1))
    alive = [letter for letter in "abc" if await agents.identity(conn, letter * 64)]
    assert alive == ["b", "c"]


async def test_a_key_is_dead_after_its_grace_period(conn: Conn) -> None:
    agent = await made(conn)
    await agents.rotate_key(conn, agent, key("b"), grace=timedelta(0))
    assert await agents.identity(conn, "a" * 64) is None


async def test_administrators_states(conn: Conn) -> None:
    agent = await made(conn)
    await agents.drain(conn, agent)
    assert (await agents.find(conn, agent)).admin_state is AdminState.DRAINING
    await agents.disable(conn, agent, reason="compromised")
    identity = await agents.identity(conn, "a" * 64)
    assert identity is not None
    assert identity.admin_state is AdminState.DISABLED
    with pytest.raises(Conflict):
        await agents.drain(conn, agent)
    await agents.enable(conn, agent)
    row = await conn.fetchrow("SELECT admin_state, disable_reason FROM agents WHERE id = $1", agent)
    assert row is not None
    assert (row["admin_state"], row["disable_reason"]) == ("enabled", None)


async def test_a_deleted_agent_is_gone_for_everybody(conn: Conn) -> None:
    agent = await made(conn)
    await agents.delete(conn, agent)
    assert await agents.identity(conn, "a" * 64) is None
    assert await agents.page(conn, limit=10) == []
    for act in (agents.find, agents.enable, agents.drain, agents.delete):
        with pytest.raises(NotFound):
            await act(conn, agent)
    with pytest.raises(NotFound):
        await agents.disable(conn, agent, reason=None)
    with pytest.raises(NotFound):
        await agents.rotate_key(conn, agent, key("b"), grace=timedelta(0))


async def test_pages_are_newest_first_and_go_on_after_the_last_seen(conn: Conn) -> None:
    ids = [await made(conn, f"scanner-{n}", letter="abc"[n]) for n in range(3)]
    first = await agents.page(conn, limit=2)
    rest = await agents.page(conn, after=first[-1].id, limit=2)
    assert [a.id for a in [*first, *rest]] == sorted(ids, reverse=True)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({"status": AgentStatus.ONLINE}, {"on"}),
        ({"status": AgentStatus.OFFLINE}, {"off"}),
        ({"status": AgentStatus.DRAINING}, {"drains"}),
        ({"status": AgentStatus.DISABLED}, {"disabled"}),
        ({"region": "eu-west-1"}, {"off"}),
        ({"capability": "trivy"}, {"drains"}),
        ({"region": "eu-west-1", "status": AgentStatus.ONLINE}, set()),
        ({}, {"on", "off", "drains", "disabled"}),
    ],
)
async def test_filters(conn: Conn, wanted: dict[str, Any], names: set[str]) -> None:
    await set_online(conn, await made(conn, "on", letter="a"))
    await made(conn, "off", letter="b", region="eu-west-1")
    drains = await made(conn, "drains", letter="c", capabilities=["trivy"])
    await set_online(conn, drains)
    await agents.drain(conn, drains)
    await agents.disable(conn, await made(conn, "disabled", letter="d"), reason=None)
    assert {a.name for a in await agents.page(conn, limit=10, **wanted)} == names


async def test_totals_by_status_and_region(conn: Conn) -> None:
    await set_online(conn, await made(conn, "one", letter="a"))
    await set_online(conn, await made(conn, "two", letter="b", max_concurrent=10))
    await made(conn, "three", letter="c", region=None)
    totals = {(t.status, t.region): (t.agents, t.slots, t.running) for t in await agents.totals(conn)}
    assert totals == {(AgentStatus.ONLINE, "us-east-1"): (2, 14, 0), (AgentStatus.OFFLINE, ""): (1, 4, 0)}


async def test_an_unknown_agent_holds_no_jobs(conn: Conn) -> None:
    assert await agents.held_jobs(conn, AgentId(UUID(int=1))) == []
