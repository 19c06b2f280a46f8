"""What a dispatcher that stops, an agent that falls silent, or one that never acknowledges, leaves to others."""

import asyncio
import signal
import time
from functools import partial

from driving import Platform, eventually, lane, problem


async def test_a_dispatcher_that_is_told_to_stop_answers_its_polls_at_once_and_loses_nothing(fragile: Platform) -> None:
    capability = lane()
    agents = [await fragile.agent(capability) for _ in range(10)]
    tenant = await fragile.tenant()
    polls = [asyncio.create_task(agent.poll(timeout=60)) for agent in agents]
    for agent in agents:
        await eventually(partial(seen, fragile, agent.id))
    (dispatcher,) = fragile.stack.services["dispatcher"]
    start = time.monotonic()
    dispatcher.process.send(signal.SIGTERM)
    answers = await asyncio.gather(*polls)
    assert time.monotonic() - start < 5
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {"jobs": []})] * 10
    number = (await tenant.submitted(capabilities=[capability]))["job"]["id"]
    fragile.stack.restart("dispatcher")
    (job,) = await agents[0].jobs(timeout=10)
    assert (job["id"], job["attempt"]) == (number, 1)


async def seen(platform: Platform, agent: str) -> bool:
    """Has the platform seen the agent? It holds its poll from then on."""
    return (await platform.described(agent))["agent"]["last_seen_at"] is not None


async def test_a_job_that_is_never_acknowledged_is_given_to_another_agent(fragile: Platform) -> None:
    capability = lane()
    sleepy, other = await fragile.agent(capability), await fragile.agent(capability)
    tenant = await fragile.tenant()
    await tenant.submitted(capabilities=[capability])
    (first,) = await sleepy.jobs()
    (second,) = await other.jobs(timeout=20)
    assert (second["id"], second["attempt"]) == (first["id"], first["attempt"] + 1)
    assert (await tenant.job(first["id"]))["retry_count"] == 1
    problem(await sleepy.report(first, "ack"), 409, "attempt_superseded")
    await other.finish(second)


async def test_an_agent_that_beats_keeps_its_job_and_one_that_is_silent_loses_it(fragile: Platform) -> None:
    """Silence is twelve seconds here."""
    capability = lane()
    beating, silent = await fragile.agent(capability), await fragile.agent(capability)
    tenant = await fragile.tenant()
    held = {}
    for agent in (beating, silent):
        await tenant.submitted(capabilities=[capability])
        (job,) = await agent.jobs()
        assert (await agent.report(job, "ack")).status_code == 200
        held[agent.id] = job["id"]

    async def lost() -> bool:
        assert (await beating.heartbeat(running_jobs=[held[beating.id]])).status_code == 200
        await asyncio.sleep(0.5)
        return bool((await tenant.job(held[silent.id]))["status"] == "queued")

    await eventually(lost, seconds=40)
    assert (await tenant.job(held[beating.id]))["status"] == "running"
    assert (await fragile.described(silent.id))["agent"]["status"] == "offline"
    assert (await silent.heartbeat(running_jobs=[held[silent.id]])).json()["lost_jobs"] == [held[silent.id]]
