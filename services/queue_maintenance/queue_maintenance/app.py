"""Queue maintenance, composed. It has no public routes: its work is its loops."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from uuid import uuid4

from starlette.applications import Starlette

from platform_core.wire.events import AgentEvent
from platform_server.kit import serve
from platform_server.kit.loops import Loop, running
from platform_server.signals import streams, wakeups
from platform_server.signals.connection import connect, is_up
from platform_server.signals.streams import Reader, Stream
from platform_server.store.connection import acquire, answers, open_pool
from platform_server.store.leases import Lease
from queue_maintenance.settings import Settings
from queue_maintenance.worker import QueueWorker, Signals

NAME = "queue-maintenance"


def create_app(settings: Settings, runtime: serve.Runtime) -> Starlette:
    return Starlette(lifespan=partial(_lifespan, settings=settings, runtime=runtime))


def loops_of(worker: QueueWorker, events: Reader[AgentEvent], settings: Settings) -> list[Loop]:
    """The worker's steps at their intervals."""
    return [
        Loop("lease", worker.renew, timedelta(seconds=settings.lease_seconds / 3)),
        Loop("recovery", worker.recover, timedelta(seconds=settings.recovery_interval_seconds)),
        Loop("expiry", worker.expire, timedelta(seconds=settings.expiry_interval_seconds)),
        Loop("priorities", worker.refresh_priorities, timedelta(seconds=settings.priority_interval_seconds)),
        Loop("retention", worker.retain, timedelta(seconds=settings.retention_interval_seconds)),
        Loop("gauges", worker.tell, timedelta(seconds=settings.gauges_interval_seconds)),
        Loop("agent-events", partial(worker.follow, events), timedelta(milliseconds=200)),
    ]


@asynccontextmanager
async def _lifespan(_: Starlette, *, settings: Settings, runtime: serve.Runtime) -> AsyncIterator[None]:
    holder = f"{socket.gethostname()}-{uuid4().hex[:8]}"
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings.database_url, size=settings.pool_size, name=NAME))
        redis = await stack.enter_async_context(connect(settings.redis_url))
        lease = Lease(NAME, holder, timedelta(seconds=settings.lease_seconds))
        signals = Signals(partial(wakeups.publish, redis), partial(streams.append, redis))
        events = Reader(redis, Stream.AGENTS, AgentEvent, group=NAME, consumer=NAME)
        loops = loops_of(QueueWorker(pool, lease, signals, settings), events, settings)
        runtime.health.postgres = partial(answers, pool)
        runtime.health.redis = partial(is_up, redis)
        runtime.health.loops = loops
        async with running(loops):
            yield
        async with acquire(pool) as conn:
            await lease.give_up(conn)


def main() -> None:
    serve.main(NAME, Settings, create_app)
