"""Queue maintenance, composed. It has no public routes: its work is its loops."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from starlette.applications import Starlette

from platform_core.wire.events import AgentEvent
from platform_server.assembly.service import application, opened
from platform_server.assembly.workers import Acting, lease_of
from platform_server.kit import serve
from platform_server.kit.loops import running
from platform_server.signals.streams import Reader, Stream
from queue_maintenance.gauges import Gauges
from queue_maintenance.loops import loops_of
from queue_maintenance.settings import Settings
from queue_maintenance.worker import QueueWorker

NAME = "queue-maintenance"


def create_app(settings: Settings, runtime: serve.Runtime) -> Starlette:
    return application([], partial(_lifespan, settings=settings, runtime=runtime), settings)


@asynccontextmanager
async def _lifespan(_: Starlette, *, settings: Settings, runtime: serve.Runtime) -> AsyncIterator[None]:
    async with opened(settings, runtime, name=NAME) as at:
        acting = Acting(at.pool, lease_of(NAME, seconds=settings.lease_seconds))
        worker = QueueWorker(acting, at.announcer, settings)
        events = Reader(at.redis, Stream.AGENTS, AgentEvent, group=NAME, consumer=NAME)
        runtime.health.loops = loops = loops_of(worker, Gauges(at.pool, acting), events, settings)
        at.stack.push_async_callback(acting.give_up)
        await at.stack.enter_async_context(running(loops))
        yield


def main() -> None:
    serve.main(NAME, Settings, create_app)
