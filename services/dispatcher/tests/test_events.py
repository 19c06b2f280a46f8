"""An agent's event stream: cancelled, lost, drain; open only while it holds a job (docs/api.md, "Agent")."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from dispatching import SOON, Agent, Dispatcher, Wakes

from dispatcher import events
from platform_core.domain.ids import JobId
from platform_core.wire.events import ControlKind
from platform_server.store import agents
from platform_server.store.connection import acquire, transaction
from platform_server.store.jobs import cancel
from world import World, eventually


@pytest.fixture
async def job(world: World, agent: Agent) -> JobId:
    """In the agent's hand."""
    await world.submit(await world.tenant())
    return JobId(UUID((await agent.running())["id"]))


async def test_cancelled_lost_and_drain_are_told_at_once(
    dispatcher: Dispatcher, agent: Agent, job: JobId, wakes: Wakes
) -> None:
    async with agent.events() as told:
        await _open(dispatcher)
        await wakes.control(ControlKind.CANCEL, agent.id, job)
        await wakes.control(ControlKind.LOST, agent.id, job)
        await wakes.control(ControlKind.DRAIN, agent.id)
        await _hears(
            told,
            f'event: cancelled\ndata: {{"job_id":"{job}"}}\n\n'
            f'event: lost\ndata: {{"job_id":"{job}"}}\n\n'
            "event: drain\ndata: {}\n\n",
        )


async def test_another_agents_events_are_not_told(
    world: World, dispatcher: Dispatcher, agent: Agent, job: JobId, wakes: Wakes
) -> None:
    async with agent.events() as told:
        await _open(dispatcher)
        await wakes.control(ControlKind.CANCEL, await world.agent("scanner-2"), job)
        await wakes.control(ControlKind.DRAIN, agent.id)
        await _hears(told, "event: drain\ndata: {}\n\n")


async def test_cancels_that_were_missed_are_told_at_the_opening(world: World, agent: Agent, job: JobId) -> None:
    async with acquire(world.pool) as conn:
        await cancel(conn, (await world.job(job))["tenant_id"], job)
    async with agent.events() as told:
        await _hears(told, f'event: cancelled\ndata: {{"job_id":"{job}"}}\n\n')


async def test_a_stream_is_open_only_while_the_agent_holds_a_job(
    world: World, dispatcher: Dispatcher, agent: Agent, job: JobId
) -> None:
    """An idle agent's ends at once, without an event: it hears through its poll."""
    async with agent.events() as told:
        await _open(dispatcher)
        assert await dispatcher.state["control"].end_idle() == 0
        await world.execute("UPDATE commands SET slot_held = false, status = 'failed', completed_at = now()")
        await dispatcher.state["control"].end_idle()
        await _ends(told)
    async with agent.events() as told:
        await _ends(told)


async def test_a_stream_says_now_and_then_that_it_is_still_there(
    agent: Agent, job: JobId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_SECONDS", 0.01)
    async with agent.events() as told:
        await _hears(told, ": still here\n\n" * 3)


@pytest.mark.parametrize("kind", [ControlKind.DISABLE, ControlKind.DELETE])
async def test_a_disabled_or_deleted_agents_stream_ends(
    dispatcher: Dispatcher, agent: Agent, job: JobId, wakes: Wakes, kind: ControlKind
) -> None:
    async with agent.events() as told:
        await _open(dispatcher)
        await wakes.control(kind, agent.id)
        await _ends(told)


async def test_a_drain_of_the_dispatcher_ends_streams(dispatcher: Dispatcher, agent: Agent, job: JobId) -> None:
    async with agent.events() as told:
        await _open(dispatcher)
        dispatcher.drain()
        await _ends(told)


async def test_a_stream_whose_client_left_is_forgotten(dispatcher: Dispatcher, agent: Agent, job: JobId) -> None:
    async with agent.events():
        await _open(dispatcher)
    await _open(dispatcher, streams=0)


async def test_a_message_that_cannot_be_read_is_passed_over(
    dispatcher: Dispatcher, agent: Agent, job: JobId, wakes: Wakes
) -> None:
    """A newer service may say what this one does not know."""
    async with agent.events() as told:
        await _open(dispatcher)
        for message in (b"?", b'{"kind": "newer", "agent_id": "00000000-0000-0000-0000-000000000002"}'):
            await wakes.client.publish("agent_control", message)
            await wakes.client.publish("job_queue", message)
        await wakes.control(ControlKind.DRAIN, agent.id)
        await _hears(told, "event: drain\ndata: {}\n\n")


async def test_a_disabled_agent_opens_no_stream(world: World, agent: Agent) -> None:
    async with transaction(world.pool) as conn:
        await agents.disable(conn, agent.id, reason=None)
    refused = await agent.http.get("/api/v1/platform-agent/events")
    assert (refused.status_code, refused.json()["code"]) == (403, "agent_disabled")


async def _open(dispatcher: Dispatcher, *, streams: int = 1) -> None:
    """Until so many streams are open."""

    async def opened() -> bool:
        return len(dispatcher.state["control"].listening) == streams

    await eventually(opened)


async def _hears(told: AsyncIterator[str], expected: str) -> None:
    heard = ""
    async with asyncio.timeout(SOON):
        while len(heard) < len(expected):
            heard += await anext(told)
    assert heard == expected


async def _ends(told: AsyncIterator[str]) -> None:
    async with asyncio.timeout(SOON):
        with pytest.raises(StopAsyncIteration):
            await anext(told)
