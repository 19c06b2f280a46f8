"""Queue maintenance, composed. It has no public routes: its work is its loops."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from uuid import uuid4

from starlette.applications import Starlette

from platform_core.wire.events import AgentEvent
from platform_server.kit import problems, serve
from platform_server.kit.loops import running
from platform_server.signals import streams, wakeups
from platform_server.signals.connection import connect, is_up
from platform_server.signals.streams import Reader, Stream
from platform_server.store.connection import answers, open_pool
from platform_server.store.leases import Lease
from queue_maintenance.announcements import Announcer
from queue_maintenance.gauges import Gauges
from queue_maintenance.loops import loops_of
from queue_maintenance.settings import Settings
from queue_maintenance.worker import QueueWorker

NAME = "queue-maintenance"


def create_app(settings: Settings, runtime: serve.Runtime) -> Starlette:
    return Starlette(
        exception_handlers=problems.HANDLERS, lifespan=partial(_lifespan, settings=settings, runtime=runtime)
    )


@asynccontextmanager
async def _lifespan(_: Starlette, *, settings: Settings, runtime: serve.Runtime) -> AsyncIterator[None]:
    holder = f"{socket.gethostname()}-{uuid4()}"
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings.database_url, size=settings.pool_size, name=NAME))
        redis = await stack.enter_async_context(connect(settings.redis_url))
        lease = Lease(NAME, holder, timedelta(seconds=settings.lease_seconds))
        announcer = Announcer(partial(wakeups.publish, redis), partial(streams.append, redis))
        worker = QueueWorker(pool, lease, announcer, settings)
        events = Reader(redis, Stream.AGENTS, AgentEvent, group=NAME, consumer=NAME)
        loops = loops_of(worker, Gauges(pool, lease), events, settings)
        runtime.health.postgres = partial(answers, pool)
        runtime.health.redis = partial(is_up, redis)
        runtime.health.loops = loops
        stack.push_async_callback(lease.give_up, pool)
        await stack.enter_async_context(running(loops))
        yield


def main() -> None:
    serve.main(NAME, Settings, create_app)
