"""What the dispatcher's tests share: one that runs in the test's own event loop, agents that call it, wake-ups."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import uvicorn
from httpx import AsyncClient, Response
from redis.asyncio import Redis

from dispatcher.app import create_app
from dispatcher.settings import Settings
from platform_core.domain.ids import AgentId, JobId
from platform_core.domain.scheduling import Requirement
from platform_core.wire.events import AgentControl, ControlKind, JobQueued
from platform_server.kit.serve import Runtime
from platform_server.signals import outgoing
from platform_server.signals.outgoing import Message
from platform_server.signals.wakeups import Channel
from world import REQUIREMENT, eventually

API: Final = "/api/v1/platform-agent"
# Nothing comes from the sweep, nor from anything else that only time brings.
NEVER: Final = 3600.0
# Generous: what a wake-up brings comes in milliseconds, and without one never.
SOON: Final = 5.0


class _Server(uvicorn.Server):
    """The signals are the test's own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@dataclass
class Dispatcher:
    """A running one."""

    url: str
    runtime: Runtime
    server: uvicorn.Server
    state: dict[str, Any]

    async def holds(self, polls: int) -> None:
        """Waits until so many polls are held, and each of them has looked."""

        async def held() -> bool:
            now = list(self.state["broker"].held)
            return len(now) == polls and not any(poll.looking for poll in now)

        await eventually(held)

    def drain(self) -> None:
        """What SIGTERM does."""
        self.runtime.draining.set()
        self.server.should_exit = True


@dataclass
class Agent:
    """Calls the dispatcher as one agent."""

    id: AgentId
    http: AsyncClient
    key: str = field(repr=False)

    async def poll(self, **asked: object) -> Response:
        return await self.http.post(f"{API}/poll", json={"timeout": 30, **asked})

    async def jobs(self, **asked: object) -> list[dict[str, Any]]:
        answered = await self.poll(**asked)
        assert answered.status_code == 200, answered.text
        jobs: list[dict[str, Any]] = answered.json()["jobs"]
        return jobs

    async def job(self, **asked: object) -> dict[str, Any]:
        """The one job that is there."""
        (job,) = await self.jobs(**{"timeout": 0, **asked})
        return job

    async def tell(self, what: str, job: dict[str, Any], body: object = None, **headers: str) -> Response:
        """``what``: ack, progress, result or release."""
        sent = {"X-Job-Token": job["auth_token"], **headers}
        return await self.http.post(f"{API}/jobs/{job['id']}/{what}", json=body, headers=sent)

    async def running(self, **asked: object) -> dict[str, Any]:
        """A job that was polled and acknowledged."""
        job = await self.job(**asked)
        assert (await self.tell("ack", job)).status_code == 200
        return job

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[str]]:
        async with self.http.stream("GET", f"{API}/events") as response:
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/event-stream")
            yield aiter(response.aiter_text())


@dataclass
class Wakes:
    """What other services publish."""

    client: Redis

    async def queued(self, requirement: Requirement = REQUIREMENT) -> None:
        await outgoing.send(self.client, [Message(Channel.JOB_QUEUE, JobQueued.of(requirement))])

    async def control(self, kind: ControlKind, agent: AgentId, job: JobId | None = None) -> None:
        control = AgentControl(kind=kind, agent_id=agent, job_id=job)
        await outgoing.send(self.client, [Message(Channel.AGENT_CONTROL, control)])


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Dispatcher]:
    """Ends as SIGTERM ends it."""
    runtime = Runtime()
    app = create_app(settings, runtime)
    config = uvicorn.Config(app, port=0, http="httptools", log_config=None, lifespan="on", timeout_graceful_shutdown=10)
    server = _Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not serving.done()
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Dispatcher(f"http://127.0.0.1:{port}", runtime, server, server.lifespan.state)
    finally:
        runtime.draining.set()
        server.should_exit = True
        await serving


async def hears(client: Redis, subscribers: int = 1) -> None:
    """Waits until so many dispatchers are subscribed."""

    async def subscribed() -> bool:
        ((_, count),) = await client.pubsub_numsub(Channel.JOB_QUEUE)
        return bool(count == subscribers)

    await eventually(subscribed)
