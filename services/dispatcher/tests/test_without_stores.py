"""With Redis stalled or gone answers are no slower; with Postgres away they are 503, and what was held is not lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from dispatching import SOON, Agent, Dispatcher, Wakes, hears
from redis.asyncio import Redis

from platform_server.kit.health import internal_app
from world import World, in_process

NewAgent = Callable[..., Awaitable[Agent]]
Serve = Callable[..., AbstractAsyncContextManager[Dispatcher]]


async def test_a_redis_that_stalls_holds_up_no_answer(
    world: World, dispatcher: Dispatcher, agent: Agent, redis_client: Redis
) -> None:
    """Thirty answers: each of them would wait for a second, the longest that a call of Redis takes."""
    await world.submit(await world.tenant(), count=10)
    assert await agent.jobs(timeout=0, max_jobs=1)
    async with stalled(redis_client), asyncio.timeout(10):
        for _ in range(9):
            job = await agent.running()
            assert (await agent.tell("result", job, {"status": "completed"})).status_code == 200
        polling = asyncio.create_task(agent.job(timeout=60))
        await dispatcher.holds(1)
        await world.submit(await world.tenant())
        await dispatcher.state["polls"].sweep()
        assert await polling


async def test_what_follows_a_commit_is_told_in_order_when_redis_answers_again(
    world: World, dispatcher: Dispatcher, agent: Agent, redis_client: Redis
) -> None:
    await world.submit(await world.tenant())
    async with stalled(redis_client):
        job = await agent.running()
        await agent.tell("result", job, {"status": "completed"})
    await dispatcher.state["announcer"].finish()
    entries: Any = await redis_client.xrange("platform:jobs")
    kinds = [fields[b"body"].split(b'"')[3].decode() for _, fields in entries]
    assert kinds == ["assigned", "started", "completed"]


async def test_with_redis_killed_delivery_is_quick_again_when_it_is_back(
    world: World, dispatcher: Dispatcher, agent: Agent, wakes: Wakes
) -> None:
    """Its connections are, which is the same to us."""
    for kind in ("normal", "pubsub"):
        await wakes.client.client_kill_filter(_type=kind, skipme=True)
    polling = asyncio.create_task(agent.job(timeout=60))
    await dispatcher.holds(1)
    await hears(wakes.client)
    await world.submit(await world.tenant())
    await wakes.queued()
    async with asyncio.timeout(SOON):
        assert await polling


async def test_with_postgres_away_a_call_is_503_and_a_held_poll_ends_empty(
    serve: Serve, world: World, new_agent: NewAgent, database: str
) -> None:
    async with Gate(database).open() as gate, serve(database_url=gate.url) as dispatcher:
        agent, stranger = await new_agent(dispatcher), await new_agent(dispatcher, "stranger")
        polling = asyncio.create_task(agent.poll(timeout=1.5))
        await dispatcher.holds(1)
        gate.shut()
        refused = await stranger.poll(timeout=0)
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        dispatcher.state["broker"].look_again()
        async with in_process(internal_app(dispatcher.runtime.health)) as probes:
            assert (await probes.get("/readyz")).status_code == 503
            assert (await probes.get("/healthz")).status_code == 200
        assert (await polling).json() == {"jobs": []}
        gate.away = False
        await world.submit(await world.tenant())
        async with asyncio.timeout(SOON):
            assert await agent.job()


async def test_ready_and_degraded_without_redis(serve: Serve) -> None:
    async with (
        serve(redis_url="redis://127.0.0.1:1/0") as dispatcher,
        in_process(internal_app(dispatcher.runtime.health)) as probes,
    ):
        ready = await probes.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "degraded": ["redis"]})


@asynccontextmanager
async def stalled(client: Redis) -> AsyncIterator[None]:
    """Redis takes every write and answers none."""
    await client.client_pause(60_000, all=False)
    try:
        yield
    finally:
        await client.client_unpause()


class Gate:
    """A way to Postgres that can be shut: connections end, and new ones end at once."""

    def __init__(self, dsn: str) -> None:
        self._to = urlsplit(dsn)
        self._passing: set[asyncio.Task[None]] = set()
        self.url = ""
        self.away = False

    @asynccontextmanager
    async def open(self) -> "AsyncIterator[Gate]":
        async with await asyncio.start_server(self._come, "127.0.0.1", 0) as server:
            user = self._to.netloc.rpartition("@")[0]
            self.url = self._to._replace(netloc=f"{user}@127.0.0.1:{server.sockets[0].getsockname()[1]}").geturl()
            yield self
            self.shut()
            await asyncio.gather(*self._passing, return_exceptions=True)

    def shut(self) -> None:
        self.away = True
        for task in self._passing:
            task.cancel()

    def _come(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass(reader, writer))
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.away:
            writer.close()
            return
        beyond, to = await asyncio.open_connection(self._to.hostname, self._to.port)
        try:
            await asyncio.gather(_pump(reader, to), _pump(beyond, writer))
        finally:
            writer.close()
            to.close()


async def _pump(come: asyncio.StreamReader, go: asyncio.StreamWriter) -> None:
    while data := await come.read(65_536):
        go.write(data)
        await go.drain()
    go.close()
