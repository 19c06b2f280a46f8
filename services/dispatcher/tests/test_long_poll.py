"""The long poll (specification, "Long-Polling for Jobs"; docs/api.md, "Agent")."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from uuid import UUID

import msgspec
import pytest
from dispatching import SOON, Agent, Dispatcher, Wakes
from redis.asyncio import Redis

from dispatcher.polls import narrowed
from platform_core.domain.scheduling import Profile, Requirement
from platform_core.wire.events import AssignedJob, JobsAssigned
from platform_core.wire.protocol import Poll as Asked
from platform_server.kit import metrics
from platform_server.signals.wakeups import Channel
from world import World, eventually

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

log = logging.getLogger(__name__)

NewAgent = Callable[..., Awaitable[Agent]]
Serve = Callable[..., AbstractAsyncContextManager[Dispatcher]]


async def test_a_poll_answers_at_once_when_jobs_wait(world: World, agent: Agent) -> None:
    tenant = await world.tenant()
    (submitted,) = await world.submit(tenant, traceparent=TRACEPARENT)
    async with asyncio.timeout(SOON):
        (job,) = await agent.jobs(timeout=60)
    assert job.pop("auth_token").startswith("k1.1.")
    assert job == {
        "id": str(submitted),
        "type": "scan",
        "tenant_id": str(tenant),
        "payload": {"tool": "nuclei", "target": "example.com"},
        "timeout": 1800,
        "attempt": 1,
        "traceparent": TRACEPARENT,
    }


async def test_a_job_without_a_trace_names_none(world: World, agent: Agent) -> None:
    await world.submit(await world.tenant())
    assert "traceparent" not in await agent.job()


async def test_near_real_time_job_delivery_by_a_redis_publish(
    world: World, dispatcher: Dispatcher, agent: Agent, wakes: Wakes
) -> None:
    """How long it takes is measured and told (``--log-cli-level=INFO``), not judged."""
    tenant = await world.tenant()
    took = []
    for _ in range(10):
        polling = asyncio.create_task(agent.job(timeout=60))
        await dispatcher.holds(1)
        (submitted,) = await world.submit(tenant)
        start = time.perf_counter()
        await wakes.queued()
        async with asyncio.timeout(SOON):
            assert UUID((await polling)["id"]) == submitted
        took.append(time.perf_counter() - start)
    log.info("from the wake-up to the answer, in ms: %s", [round(1000 * seconds, 1) for seconds in took])


async def test_job_intakes_hear_who_holds_which_job_and_since_when(
    world: World, agent: Agent, redis_client: Redis
) -> None:
    async with redis_client.pubsub() as pubsub:
        await pubsub.subscribe(Channel.JOB_ASSIGNED)
        await pubsub.get_message(timeout=SOON)
        assert await agent.jobs(timeout=0) == []
        submitted = await world.submit(await world.tenant(), count=2)
        assert len(await agent.jobs(timeout=0, max_jobs=2)) == 2
        message = await pubsub.get_message(timeout=SOON)
    assert message is not None
    told = msgspec.json.decode(message["data"], type=JobsAssigned).jobs
    rows = [await world.job(job) for job in submitted]
    assert set(told) == {AssignedJob(row["id"], agent.id, row["assigned_at"]) for row in rows}


async def test_nothing_is_lost_between_subscribing_and_looking(
    world: World,
    serve: Serve,
    new_agent: NewAgent,
    redis_client: Redis,
) -> None:
    """What is queued while the subscription is broken is found when it stands again: it looks after it subscribed."""
    async with serve() as dispatcher:
        agent = await new_agent(dispatcher)
        polling = asyncio.create_task(agent.job(timeout=60))
        await dispatcher.holds(1)
        await world.submit(await world.tenant())
        await redis_client.client_kill_filter(_type="pubsub")
        async with asyncio.timeout(SOON):
            assert await polling


async def test_with_redis_away_the_sweep_finds_the_job(world: World, serve: Serve, new_agent: NewAgent) -> None:
    async with serve(redis_url="redis://127.0.0.1:1/0", sweep_seconds=0.2) as dispatcher:
        agent = await new_agent(dispatcher)
        polling = asyncio.create_task(agent.job(timeout=60))
        await dispatcher.holds(1)
        await world.submit(await world.tenant())
        async with asyncio.timeout(SOON):
            assert await polling


async def test_all_that_wake_ups_did_not_tell_of_is_found_by_one_sweep(
    world: World, serve: Serve, new_agent: NewAgent
) -> None:
    """One poll of a profile looks; where it finds something, more look."""
    async with serve() as dispatcher:
        fleet = [await new_agent(dispatcher, f"scanner-{n}") for n in range(20)]
        polling = [asyncio.create_task(agent.job(timeout=60)) for agent in fleet]
        await dispatcher.holds(len(fleet))
        await world.submit(await world.tenant(), count=len(fleet))
        await dispatcher.state["polls"].sweep()
        async with asyncio.timeout(SOON):
            jobs = await asyncio.gather(*polling)
        assert len({job["id"] for job in jobs}) == len(fleet)


async def test_timeout_0_answers_at_once(world: World, agent: Agent) -> None:
    async with asyncio.timeout(SOON):
        assert await agent.jobs(timeout=0) == []
        await world.submit(await world.tenant())
        assert len(await agent.jobs(timeout=0)) == 1


async def test_long_poll_timeout_ends_in_no_jobs(agent: Agent) -> None:
    start = time.monotonic()
    answered = await agent.poll(timeout=0.3)
    assert answered.json() == {"jobs": []}
    assert time.monotonic() - start >= 0.3
    assert "connection" not in answered.headers


async def test_timeouts_are_0_to_60_and_max_jobs_1_to_100(agent: Agent) -> None:
    refused: dict[str, list[dict[str, object]]] = {
        "timeout": [{"timeout": -1}, {"timeout": 60.5}, {"timeout": "soon"}, {"timeout": None}],
        "max_jobs": [{"max_jobs": 0}, {"max_jobs": 101}, {"max_jobs": 1.5}],
        "capabilities[0]": [{"capabilities": ["-rf"]}],
        "tools[1]": [{"tools": ["nuclei", ""]}],
    }
    for field, bodies in refused.items():
        for asked in bodies:
            answered = await agent.poll(**asked)
            assert (answered.status_code, answered.json()["code"]) == (400, "validation_failed"), asked
            assert [error["field"] for error in answered.json()["errors"]] == [field]


async def test_a_poll_that_says_nothing_waits_30_seconds_for_one_job(
    world: World, dispatcher: Dispatcher, agent: Agent, wakes: Wakes
) -> None:
    polling = asyncio.create_task(agent.http.post("/api/v1/platform-agent/poll"))
    await dispatcher.holds(1)
    (held,) = dispatcher.state["broker"].held
    assert held.max_jobs == 1
    assert not polling.done()
    await world.submit(await world.tenant(), count=2)
    await wakes.queued()
    assert len((await polling).json()["jobs"]) == 1


async def test_unknown_fields_of_a_newer_agent_are_ignored(agent: Agent) -> None:
    assert (await agent.poll(timeout=0, gpu=True)).status_code == 200


async def test_max_jobs_are_given_at_once(world: World, agent: Agent) -> None:
    await world.submit(await world.tenant(), count=5)
    assert len(await agent.jobs(timeout=0, max_jobs=3)) == 3
    assert len(await agent.jobs(timeout=0, max_jobs=100)) == 2


async def test_an_agent_is_never_given_more_than_its_free_slots(
    world: World, dispatcher: Dispatcher, new_agent: NewAgent
) -> None:
    """However many polls it has open at once."""
    agent = await new_agent(dispatcher, max_concurrent=3)
    await world.submit(await world.tenant(), count=10)
    given = await asyncio.gather(*(agent.jobs(timeout=0, max_jobs=2) for _ in range(4)))
    assert sum(len(jobs) for jobs in given) == 3
    assert await agent.jobs(timeout=0, max_jobs=100) == []


@pytest.mark.parametrize(
    ("asked", "capabilities", "tools"),
    [
        (Asked(), "ab", "xy"),
        (Asked(tools=(), capabilities=()), "ab", "xy"),
        (Asked(tools=("y",)), "ab", "y"),
        (Asked(capabilities=("a",)), "a", "xy"),
        (Asked(tools=("y", "z")), "ab", "y"),
        (Asked(tools=("z",), capabilities=("b", "c")), "b", ""),
    ],
    ids=["absent", "empty", "a tool", "a capability", "with another's tool", "with another's only"],
)
def test_what_the_poll_names_narrows_what_is_registered_and_never_widens_it(
    asked: Asked, capabilities: str, tools: str
) -> None:
    registered = Profile(frozenset("ab"), frozenset("xy"), "eu")
    assert narrowed(registered, asked) == Profile(frozenset(capabilities), frozenset(tools), "eu")


async def test_a_poll_is_given_only_what_it_narrowed_itself_to(
    world: World, dispatcher: Dispatcher, new_agent: NewAgent
) -> None:
    agent = await new_agent(dispatcher, offers=["nuclei", "semgrep"])
    tenant = await world.tenant()
    jobs = {}
    for tool in ("nuclei", "semgrep", "trivy"):
        (job,) = await world.submit(tenant, requirement=Requirement(frozenset({tool}), tool, None))
        jobs[str(job)] = tool
    assert await agent.jobs(timeout=0, tools=["trivy"]) == []
    assert jobs[(await agent.job(tools=["semgrep", "trivy"], max_jobs=100))["id"]] == "semgrep"
    assert jobs[(await agent.job(max_jobs=100))["id"]] == "nuclei"


async def test_presence_is_noted_by_polls_while_they_are_held(world: World, serve: Serve, new_agent: NewAgent) -> None:
    async with serve(presence_seconds=0.05) as dispatcher:
        agent = await new_agent(dispatcher)
        await world.seen(agent.id, ago=50, online=True)
        polling = asyncio.create_task(agent.poll(timeout=60))
        await dispatcher.holds(1)
        assert await _seen_just_now(world, agent)
        await world.seen(agent.id, ago=50, online=True)
        await eventually(lambda: _seen_just_now(world, agent))
        polling.cancel()


async def test_held_polls_wake_ups_claims_and_delivery_are_counted(
    world: World, dispatcher: Dispatcher, agent: Agent, wakes: Wakes
) -> None:
    woken, claims = metrics.WAKEUPS.labels("yes"), metrics.CLAIMS.labels("handed_out")
    before = woken._value.get(), claims._value.get(), metrics.DELIVERY._sum.get()
    polling = asyncio.create_task(agent.job(timeout=60))
    await dispatcher.holds(1)
    assert metrics.HELD_POLLS._value.get() == 1
    await world.submit(await world.tenant())
    await wakes.queued()
    await polling
    assert metrics.HELD_POLLS._value.get() == 0
    assert (woken._value.get(), claims._value.get()) == (before[0] + 1, before[1] + 1)
    assert metrics.DELIVERY._sum.get() > before[2]


async def test_intake_is_told_which_profiles_wait(dispatcher: Dispatcher, agent: Agent, redis_client: Redis) -> None:
    polling = asyncio.create_task(agent.poll(timeout=60))
    await dispatcher.holds(1)
    await dispatcher.state["polls"].tell_waiting()
    (name,) = await redis_client.keys("waiting:*")
    assert await redis_client.get(name) == b'[[["nuclei"],["nuclei"],""]]'
    polling.cancel()


async def _seen_just_now(world: World, agent: Agent) -> bool:
    query = "SELECT last_seen_at > clock_timestamp() - interval '40 seconds' FROM agent_presence WHERE agent_id = $1"
    return bool(await world.pool.fetchval(query, agent.id))
