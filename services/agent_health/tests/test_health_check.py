"""The health check: who is silent goes offline, who is seen again comes online; one replica does it."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from agent_health.app import create_app
from agent_health.checker import HealthChecker
from agent_health.settings import Settings
from platform_core.domain.ids import AgentId
from platform_server.kit.serve import Runtime
from platform_server.store import presence
from platform_server.store.connection import Pool, transaction
from platform_server.store.leases import NotActing
from world import eventually

NewChecker = Callable[[str], HealthChecker]
IsOnline = Callable[[AgentId], Awaitable[bool]]
Events = Callable[[], Awaitable[list[tuple[str, AgentId]]]]


@pytest.mark.parametrize(("silent_for", "online"), [(59, True), (60, False)])
async def test_an_agent_that_was_silent_for_60_seconds_is_offline(
    world: Any,
    agent: AgentId,
    checker: HealthChecker,
    is_online: IsOnline,
    agent_events: Events,
    silent_for: int,
    online: bool,
) -> None:
    await world.seen(agent, ago=silent_for, online=True)
    assert await checker.check() == (not online)
    assert await is_online(agent) is online
    assert await agent_events() == [("offline", agent)] * (not online)


async def test_it_is_told_once(world: Any, agent: AgentId, checker: HealthChecker, agent_events: Events) -> None:
    await world.seen(agent, ago=60, online=True)
    assert [await checker.check() for _ in range(2)] == [1, 0]
    assert await agent_events() == [("offline", agent)]


def test_an_agent_is_offline_within_90_seconds_of_its_last_sign_of_life(settings: Settings) -> None:
    assert settings.stale_after_seconds + settings.check_interval_seconds == 90


async def test_an_agent_that_never_said_anything_is_not_online_for_ever(
    world: Any, agent: AgentId, checker: HealthChecker, is_online: IsOnline
) -> None:
    await world.execute("UPDATE agent_presence SET last_seen_at = NULL")
    assert await checker.check() == 1
    assert not await is_online(agent)


async def test_a_held_poll_is_a_sign_of_life(
    world: Any, agent: AgentId, checker: HealthChecker, is_online: IsOnline
) -> None:
    await world.seen(agent, ago=120, online=True)
    await world.held(agent)
    assert await checker.check() == 0
    assert await is_online(agent)


async def test_progress_is_a_sign_of_life(
    world: Any, agent: AgentId, checker: HealthChecker, is_online: IsOnline, pool: Pool
) -> None:
    await world.seen(agent, ago=120, online=True)
    async with transaction(pool) as conn:
        await presence.note_seen(conn, [agent])
    assert await checker.check() == 0
    assert await is_online(agent)


@pytest.mark.parametrize(("ago", "back"), [(59, True), (60, False)])
async def test_an_agent_that_is_seen_again_comes_online(
    world: Any,
    agent: AgentId,
    checker: HealthChecker,
    is_online: IsOnline,
    agent_events: Events,
    ago: int,
    back: bool,
) -> None:
    await world.seen(agent, ago=ago, online=False)
    assert await checker.welcome() == back
    assert await is_online(agent) is back
    assert await agent_events() == [("online", agent)] * back


async def test_agents_go_offline_in_bounded_batches_until_none_is_left(
    world: Any, checker: HealthChecker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent_health.checker._BATCH", 2)
    for n in range(5):
        await world.seen(await world.agent(f"scanner-{n}"), ago=60, online=True)
    assert [await checker.check() for _ in range(4)] == [2, 2, 1, 0]


async def test_of_two_replicas_one_acts(
    world: Any, agent: AgentId, new_checker: NewChecker, is_online: IsOnline
) -> None:
    first, second = new_checker("first"), new_checker("second")
    await first.acting.renew()
    await second.acting.renew()
    await world.seen(agent, ago=60, online=True)
    for step in (second.check, second.welcome):
        with pytest.raises(NotActing):
            await step()
    assert await is_online(agent)
    assert await first.check() == 1


async def test_a_leader_that_was_paused_past_its_lease_changes_nothing(
    world: Any, agent: AgentId, new_checker: NewChecker, is_online: IsOnline
) -> None:
    paused, other = new_checker("paused"), new_checker("other")
    await paused.acting.renew()
    await world.seen(agent, ago=60, online=True)
    await world.execute("UPDATE worker_leases SET expires_at = clock_timestamp() WHERE name = 'agent-health'")
    for _ in range(2):
        with pytest.raises(NotActing):
            await paused.check()
        assert await is_online(agent)
        await other.acting.renew()
    assert await other.check() == 1


async def test_the_app_acts_while_it_runs_and_gives_the_lease_up_at_its_end(settings: Settings, pool: Pool) -> None:
    runtime = Runtime()
    app = create_app(settings, runtime)
    acts = "SELECT expires_at > clock_timestamp() FROM worker_leases WHERE name = 'agent-health'"
    async with app.router.lifespan_context(app):
        assert not any(loop.stalled for loop in runtime.health.loops)
        await next(loop for loop in runtime.health.loops if loop.name == "lease").step()
        assert await pool.fetchval(acts)
    assert not await pool.fetchval(acts)


async def test_the_running_service_finds_the_silent_and_those_that_are_back(
    world: Any, agent: AgentId, settings: Settings, is_online: IsOnline, agent_events: Events
) -> None:
    quick = msgspec.structs.replace(
        settings, check_interval_seconds=0.05, return_interval_seconds=0.05, stale_after_seconds=0.5
    )
    app = create_app(quick, Runtime())

    async def gone() -> bool:
        return not await is_online(agent)

    async def back() -> bool:
        return await is_online(agent)

    async with app.router.lifespan_context(app):
        await eventually(gone)
        await world.held(agent)
        await eventually(back)
    assert (await agent_events())[:2] == [("offline", agent), ("online", agent)]
