"""Agent health, composed."""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from uuid import uuid4

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware

from agent_health.checker import HealthChecker
from agent_health.heartbeats import Heartbeats, Signals
from agent_health.routes import ROUTES, State
from agent_health.settings import Settings
from platform_core.domain.ids import AgentId
from platform_core.wire.events import AgentControl
from platform_server.kit import client_address, metrics, problems, serve
from platform_server.kit.agent_auth import AgentKeys
from platform_server.kit.asgi import Edge
from platform_server.kit.loops import Loop, running
from platform_server.signals import streams, wakeups
from platform_server.signals.connection import connect, is_up
from platform_server.signals.limiter import Limiter, LimiterSettings
from platform_server.signals.wakeups import Channel, Subscription, listening
from platform_server.store import agents
from platform_server.store.connection import acquire, answers, open_pool
from platform_server.store.leases import Lease

NAME = "agent-health"


def create_app(settings: Settings, runtime: serve.Runtime) -> Starlette:
    return Starlette(
        routes=ROUTES,
        middleware=[Middleware(Edge, trusted=client_address.networks(settings.trusted_proxies))],
        exception_handlers=problems.HANDLERS,
        lifespan=partial(_lifespan, settings=settings, runtime=runtime),
    )


def loops_of(checker: HealthChecker, settings: Settings) -> list[Loop]:
    """The checker's steps at their intervals."""
    return [
        Loop("lease", checker.renew, timedelta(seconds=settings.lease_seconds / 3)),
        Loop("health-check", checker.check, timedelta(seconds=settings.check_interval_seconds)),
        Loop("statistics", checker.log_statistics, timedelta(seconds=settings.statistics_interval_seconds)),
        Loop("gauges", checker.tell, timedelta(seconds=settings.gauges_interval_seconds)),
    ]


@asynccontextmanager
async def _lifespan(_: Starlette, *, settings: Settings, runtime: serve.Runtime) -> AsyncIterator[State]:
    holder = f"{socket.gethostname()}-{uuid4().hex[:8]}"
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings.database_url, size=settings.pool_size, name=NAME))
        redis = await stack.enter_async_context(connect(settings.redis_url))

        async def find(key_hash: str) -> agents.Identity | None:
            async with acquire(pool) as conn:
                return await agents.identity(conn, key_hash)

        keys = AgentKeys(find, Limiter(redis, LimiterSettings(), on_redis=metrics.REDIS_UP.set))
        signals = Signals(partial(wakeups.publish, redis), partial(streams.append, redis))
        lease = Lease(NAME, holder, timedelta(seconds=settings.lease_seconds))
        loops = loops_of(HealthChecker(pool, lease, signals, settings), settings)

        def heard(raw: bytes) -> None:
            keys.forget(AgentId(msgspec.json.decode(raw, type=AgentControl).agent_id))

        await stack.enter_async_context(listening(Subscription(redis, {Channel.AGENT_CONTROL: heard})))
        await stack.enter_async_context(running(loops))
        runtime.health.postgres = partial(answers, pool)
        runtime.health.redis = partial(is_up, redis)
        runtime.health.loops = loops
        yield State(
            agents=keys,
            heartbeats=Heartbeats(pool, signals),
            next_heartbeat=timedelta(seconds=settings.next_heartbeat_seconds),
        )
        async with acquire(pool) as conn:
            await lease.give_up(conn)


def main() -> None:
    serve.main(NAME, Settings, create_app)
