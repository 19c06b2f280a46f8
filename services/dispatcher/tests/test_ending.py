"""How held polls end: the client leaves, the dispatcher drains, an administrator speaks."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from uuid import UUID

import pytest
from dispatching import SOON, Agent, Dispatcher, Wakes
from httpx import AsyncClient

from platform_core.domain.ids import JobId
from platform_core.wire.events import ControlKind
from platform_server.store import agents, claims
from platform_server.store.connection import transaction
from world import World, eventually

NewAgent = Callable[..., Awaitable[Agent]]
Serve = Callable[..., AbstractAsyncContextManager[Dispatcher]]


async def test_when_the_client_is_gone_its_poll_is_held_no_more(dispatcher: Dispatcher, agent: Agent) -> None:
    polling = asyncio.create_task(agent.poll(timeout=60))
    await dispatcher.holds(1)
    polling.cancel()
    await dispatcher.holds(0)


async def test_a_job_claimed_for_a_client_that_is_gone_is_put_back_at_once_and_spends_no_retry(
    world: World, dispatcher: Dispatcher, agent: Agent, new_agent: NewAgent
) -> None:
    other = await new_agent(dispatcher, "scanner-2")
    (job,) = await world.submit(await world.tenant())
    queued_at = (await world.job(job))["queued_at"]
    async with transaction(world.pool) as blocking:
        await blocking.execute(claims.SQL["lock"])
        polling = asyncio.create_task(agent.poll(timeout=60))
        await _claim_waits(world)
        polling.cancel()
        await dispatcher.holds(0)

    async def back() -> bool:
        row = await world.job(job)
        return bool(row["status"] == "queued" and row["attempt"] == 1)

    await eventually(back)
    row = await world.job(job)
    assert (row["retry_count"], row["queued_at"], row["slot_held"]) == (0, queued_at, False)
    assert '"put_back"' in row["log"]
    assert await dispatcher.state["put_backs"].write() == 0
    again = await other.job()
    assert (again["id"], again["attempt"]) == (str(job), 2)


async def test_a_job_put_back_wakes_another_poll(
    world: World, dispatcher: Dispatcher, agent: Agent, new_agent: NewAgent
) -> None:
    other = await new_agent(dispatcher, "scanner-2", offers=["nmap", "nuclei"])
    waiting = asyncio.create_task(other.job(timeout=60))
    await dispatcher.holds(1)
    await world.submit(await world.tenant())
    async with transaction(world.pool) as blocking:
        await blocking.execute(claims.SQL["lock"])
        polling = asyncio.create_task(agent.poll(timeout=60))
        await _claim_waits(world)
        polling.cancel()
    async with asyncio.timeout(SOON):
        assert (await waiting)["attempt"] == 2


async def test_a_put_back_that_fails_is_tried_again(world: World, dispatcher: Dispatcher, agent: Agent) -> None:
    """While it waits for the row, Postgres ends its connection."""
    (job,) = await world.submit(await world.tenant())
    given = await agent.job()
    put_backs = dispatcher.state["put_backs"]
    handed_out = await _as_handed_out(world, agent, job)
    async with transaction(world.pool) as blocking:
        await blocking.execute("SELECT FROM commands WHERE id = $1 FOR UPDATE", job)
        put_backs.add([handed_out])

        async def interrupted() -> bool:
            ended = await world.pool.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
                " AND application_name = 'dispatcher' AND wait_event_type = 'Lock'"
            )
            return bool(ended)

        await eventually(interrupted)

    async def back() -> bool:
        return bool((await world.job(job))["status"] == "queued")

    await eventually(back)
    assert given["id"] == str(job)


async def test_a_drain_answers_every_held_poll_with_no_jobs_and_connection_close(
    dispatcher: Dispatcher, new_agent: NewAgent
) -> None:
    fleet = [await new_agent(dispatcher, f"scanner-{n}") for n in range(5)]
    polling = [asyncio.create_task(agent.poll(timeout=60)) for agent in fleet]
    await dispatcher.holds(len(fleet))
    dispatcher.drain()
    async with asyncio.timeout(SOON):
        answers = await asyncio.gather(*polling)
    assert {(a.status_code, a.text, a.headers["connection"]) for a in answers} == {(200, '{"jobs":[]}', "close")}


async def test_a_claim_in_flight_is_delivered_by_a_dispatcher_that_drains(
    world: World, dispatcher: Dispatcher, agent: Agent
) -> None:
    (job,) = await world.submit(await world.tenant())
    async with transaction(world.pool) as blocking:
        await blocking.execute(claims.SQL["lock"])
        polling = asyncio.create_task(agent.poll(timeout=60))
        await _claim_waits(world)
        dispatcher.drain()
    async with asyncio.timeout(SOON):
        answered = await polling
    assert [UUID(polled["id"]) for polled in answered.json()["jobs"]] == [job]
    assert answered.headers["connection"] == "close"


async def test_a_draining_dispatcher_holds_no_new_poll(dispatcher: Dispatcher, agent: Agent) -> None:
    async with AsyncClient(base_url=dispatcher.url, headers={"X-API-Key": agent.key}, trust_env=False) as open_before:
        agent.http = open_before
        await agent.poll(timeout=0)
        dispatcher.runtime.draining.set()
        async with asyncio.timeout(SOON):
            answered = await agent.poll(timeout=60)
    assert (answered.json(), answered.headers["connection"]) == ({"jobs": []}, "close")


async def test_a_disabled_agents_polls_end_and_its_key_is_refused(
    world: World, dispatcher: Dispatcher, agent: Agent, wakes: Wakes
) -> None:
    polling = asyncio.create_task(agent.poll(timeout=60))
    await dispatcher.holds(1)
    async with transaction(world.pool) as conn:
        await agents.disable(conn, agent.id, reason=None)
    await wakes.control(ControlKind.DISABLE, agent.id)
    async with asyncio.timeout(SOON):
        assert (await polling).json() == {"jobs": []}
    refused = await agent.poll(timeout=0)
    assert (refused.status_code, refused.json()["code"]) == (403, "agent_disabled")


async def test_an_agent_that_was_disabled_under_its_poll_is_given_nothing(
    world: World, dispatcher: Dispatcher, agent: Agent, wakes: Wakes
) -> None:
    """Though no word of it came: the claim looks."""
    polling = asyncio.create_task(agent.poll(timeout=0.5))
    await dispatcher.holds(1)
    async with transaction(world.pool) as conn:
        await agents.disable(conn, agent.id, reason=None)
    await world.submit(await world.tenant())
    await wakes.queued()
    assert (await polling).json() == {"jobs": []}


async def test_enabled_again_it_is_served(world: World, dispatcher: Dispatcher, agent: Agent, wakes: Wakes) -> None:
    async with transaction(world.pool) as conn:
        await agents.disable(conn, agent.id, reason=None)
    assert (await agent.poll(timeout=0)).status_code == 403
    async with transaction(world.pool) as conn:
        await agents.enable(conn, agent.id)
    await wakes.control(ControlKind.ENABLE, agent.id)

    async def served() -> bool:
        return (await agent.poll(timeout=0)).status_code == 200

    await eventually(served)


async def test_a_draining_agent_gets_nothing_new_and_its_polls_are_held_not_spun(
    world: World, dispatcher: Dispatcher, agent: Agent, wakes: Wakes
) -> None:
    polling = asyncio.create_task(agent.poll(timeout=60))
    await dispatcher.holds(1)
    await _drain_agent(world, agent)
    await wakes.control(ControlKind.DRAIN, agent.id)
    async with asyncio.timeout(SOON):
        assert (await polling).json() == {"jobs": []}
    await world.submit(await world.tenant())
    again = asyncio.create_task(agent.poll(timeout=0.5))
    await dispatcher.holds(1)
    await wakes.queued()
    assert (await again).json() == {"jobs": []}
    assert again.result().elapsed.total_seconds() >= 0.5


async def test_a_draining_agents_poll_keeps_no_job_from_others(
    world: World, dispatcher: Dispatcher, agent: Agent, new_agent: NewAgent, wakes: Wakes
) -> None:
    """The wake-up that comes to it is passed on."""
    other = await new_agent(dispatcher, "scanner-2")
    asking = asyncio.create_task(agent.poll(timeout=60))
    await dispatcher.holds(1)
    waiting = asyncio.create_task(other.job(timeout=60))
    await dispatcher.holds(2)
    await _drain_agent(world, agent)
    await world.submit(await world.tenant())
    await wakes.queued()
    async with asyncio.timeout(SOON):
        assert await waiting
    assert not asking.done()
    asking.cancel()


async def test_enable_ends_a_drain_for_the_poll_that_is_held(
    world: World, dispatcher: Dispatcher, agent: Agent, wakes: Wakes
) -> None:
    await _drain_agent(world, agent)
    await world.submit(await world.tenant())
    polling = asyncio.create_task(agent.job(timeout=60))
    await dispatcher.holds(1)
    async with transaction(world.pool) as conn:
        await agents.enable(conn, agent.id)
    await wakes.control(ControlKind.ENABLE, agent.id)
    async with asyncio.timeout(SOON):
        assert await polling


async def test_a_deleted_agents_poll_ends_and_its_key_is_dead(
    world: World, dispatcher: Dispatcher, agent: Agent, wakes: Wakes
) -> None:
    polling = asyncio.create_task(agent.poll(timeout=60))
    await dispatcher.holds(1)
    async with transaction(world.pool) as conn:
        await agents.delete(conn, agent.id)
    await wakes.control(ControlKind.DELETE, agent.id)
    async with asyncio.timeout(SOON):
        assert (await polling).json() == {"jobs": []}
    refused = await agent.poll(timeout=0)
    assert (refused.status_code, refused.json()["code"]) == (401, "key_invalid")


@pytest.mark.parametrize("change", [agents.delete, lambda conn, agent: agents.disable(conn, agent, reason=None)])
async def test_with_redis_away_a_key_is_refused_within_a_second(
    world: World, serve: Serve, new_agent: NewAgent, change: Callable[..., Awaitable[None]]
) -> None:
    async with serve(redis_url="redis://127.0.0.1:1/0") as dispatcher:
        agent = await new_agent(dispatcher)
        assert (await agent.poll(timeout=0)).status_code == 200
        async with transaction(world.pool) as conn:
            await change(conn, agent.id)

        async def refused() -> bool:
            return (await agent.poll(timeout=0)).status_code in (401, 403)

        await eventually(refused, seconds=2)


async def _drain_agent(world: World, agent: Agent) -> None:
    async with transaction(world.pool) as conn:
        await agents.drain(conn, agent.id)


async def _claim_waits(world: World) -> None:
    """Until a claim waits for the lock."""

    async def waits() -> bool:
        found = await world.pool.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
        )
        return bool(found)

    await eventually(waits)


async def _as_handed_out(world: World, agent: Agent, job: JobId) -> claims.HandedOut:
    row = await world.job(job)
    return claims.HandedOut(
        job,
        row["tenant_id"],
        agent.id,
        row["attempt"],
        "scan",
        b"{}",
        1800,
        None,
        assigned_at=row["assigned_at"],
        waited=row["assigned_at"] - row["queued_at"],
    )
