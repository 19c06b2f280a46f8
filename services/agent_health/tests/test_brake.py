"""The brake: when most agents fall silent at once the fault is ours, and their jobs stay with them."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from agent_health.checker import HealthChecker
from platform_core.domain.ids import AgentId
from platform_server.store import presence, sweeps
from platform_server.store.connection import Pool, acquire, transaction
from platform_server.store.sweeps import Deadlines

IsOnline = Callable[[AgentId], Awaitable[bool]]

DEADLINES = Deadlines(ack=timedelta(seconds=60), silence=timedelta(seconds=60))


@pytest.fixture
def fleet(world: Any) -> Callable[..., Awaitable[list[AgentId]]]:
    """So many agents, so many of which were last seen so long ago; those come first."""

    async def make(agents: int, *, silent: int, ago: float = 65) -> list[AgentId]:
        made = [await world.agent(f"scanner-{n}") for n in range(agents)]
        for agent in made[:silent]:
            await world.seen(agent, ago=ago, online=True)
        return made

    return make


@pytest.fixture
def brake_left(pool: Pool) -> Callable[[], Awaitable[timedelta | None]]:
    async def ask() -> timedelta | None:
        async with acquire(pool) as conn:
            return await presence.brake_left(conn)

    return ask


Fleet = Callable[..., Awaitable[list[AgentId]]]
BrakeLeft = Callable[[], Awaitable[timedelta | None]]


@pytest.mark.parametrize(
    ("agents", "silent", "pulled"),
    [(20, 11, True), (20, 10, False), (19, 19, False), (40, 22, True), (40, 21, False)],
    ids=["20 agents, 55 %", "less than 55 %", "fewer than 20 agents", "40 agents, 55 %", "40 agents, 52.5 %"],
)
async def test_of_20_agents_or_more_55_percent_silent_pull_it(
    fleet: Fleet, checker: HealthChecker, brake_left: BrakeLeft, agents: int, silent: int, pulled: bool
) -> None:
    await fleet(agents, silent=silent)
    await checker.check()
    assert (await brake_left() is not None) is pulled
    assert REGISTRY.get_sample_value("platform_requeue_brake") == pulled


@pytest.mark.parametrize(("ago", "pulled"), [(179, True), (181, False)])
async def test_those_count_that_fell_silent_within_120_seconds(
    world: Any, fleet: Fleet, checker: HealthChecker, brake_left: BrakeLeft, ago: float, pulled: bool
) -> None:
    """Seen 60 + 120 s ago at the latest; an agent that is offline for longer is no news."""
    for agent in (await fleet(20, silent=0))[:11]:
        await world.seen(agent, ago=ago, online=False)
    await checker.check()
    assert (await brake_left() is not None) is pulled


async def test_disabled_and_deleted_agents_do_not_count(
    world: Any, fleet: Fleet, checker: HealthChecker, brake_left: BrakeLeft
) -> None:
    gone = await fleet(20, silent=11)
    await world.execute("UPDATE agents SET admin_state = 'disabled' WHERE id = $1", gone[0])
    await world.execute("UPDATE agents SET deleted_at = clock_timestamp() WHERE id = $1", gone[1])
    await checker.check()
    assert await brake_left() is None


async def test_the_agents_turn_offline_all_the_same(fleet: Fleet, checker: HealthChecker, is_online: IsOnline) -> None:
    agents = await fleet(20, silent=11)
    assert await checker.check() == 11
    assert [await is_online(agent) for agent in agents] == [False] * 11 + [True] * 9


async def lost(pool: Pool) -> int:
    """How many jobs recovery would bring back now."""
    async with transaction(pool) as conn:
        return len(await sweeps.lock_lost(conn, DEADLINES, limit=100))


@pytest.mark.parametrize("why", ["silence", "ack deadline", "timeout"])
async def test_while_it_is_on_nothing_is_requeued_by_silence_ack_deadline_or_timeout(
    world: Any, fleet: Fleet, checker: HealthChecker, pool: Pool, why: str
) -> None:
    agents = await fleet(20, silent=0)
    await world.held(agents[0], acknowledged=why != "ack deadline")
    await world.execute("UPDATE commands SET assigned_at = clock_timestamp() - interval '70 s'")
    if why == "timeout":
        await world.execute("UPDATE commands SET auth_token_expires_at = clock_timestamp()")
    for agent in agents if why == "silence" else agents[1:]:
        await world.seen(agent, ago=65, online=True)
    await checker.check()
    assert await lost(pool) == 0
    async with transaction(pool) as conn:
        await presence.release_brake(conn)
    assert await lost(pool) == 1


async def test_a_disabled_agents_job_goes_back_though_it_is_on(
    world: Any, fleet: Fleet, checker: HealthChecker, pool: Pool, brake_left: BrakeLeft
) -> None:
    agents = await fleet(21, silent=15)
    await world.held(agents[20])
    await world.execute("UPDATE agents SET admin_state = 'disabled' WHERE id = $1", agents[20])
    await checker.check()
    assert await brake_left() is not None
    assert await lost(pool) == 1


async def test_it_ends_when_fewer_are_silent(
    world: Any, fleet: Fleet, checker: HealthChecker, brake_left: BrakeLeft, caplog: pytest.LogCaptureFixture
) -> None:
    agents = await fleet(20, silent=11)
    await checker.check()
    await world.seen(agents[0], ago=0, online=True)
    await checker.check()
    assert await brake_left() is None
    assert REGISTRY.get_sample_value("platform_requeue_brake") == 0
    assert [m for m in caplog.messages if "brake" in m] == ["requeue_brake_pulled", "requeue_brake_released"]


async def test_it_stays_on_while_they_are_silent_and_ends_10_minutes_after_it_was_pulled(
    world: Any, fleet: Fleet, checker: HealthChecker, brake_left: BrakeLeft
) -> None:
    async def minutes_pass(minutes: int) -> None:
        earlier = timedelta(minutes=minutes)
        await world.execute(
            "UPDATE agent_presence SET last_seen_at = last_seen_at - $1::interval WHERE NOT online", earlier
        )
        await world.execute(
            "UPDATE worker_leases SET expires_at = expires_at - $1::interval WHERE name = 'requeue-brake'", earlier
        )

    await fleet(20, silent=11)
    await checker.check()
    left = await brake_left()
    assert left is not None
    assert timedelta(minutes=9) < left <= timedelta(minutes=10)
    await minutes_pass(9)
    await checker.check()
    again = await brake_left()
    assert again is not None
    assert again < timedelta(minutes=1)
    await minutes_pass(1)
    await checker.check()
    assert await brake_left() is None


async def test_after_an_outage_of_the_gateway_those_that_do_not_come_back_count(
    fleet: Fleet, checker: HealthChecker, brake_left: BrakeLeft
) -> None:
    """Nobody was marked offline meanwhile, so they were last seen before it."""
    await fleet(20, silent=11, ago=600)
    assert [await checker.check() for _ in range(2)] == [11, 0]
    assert await brake_left() is not None
