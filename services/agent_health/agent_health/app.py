"""Agent health, composed."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from uuid import uuid4

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware

from agent_health.announcements import Announcer
from agent_health.bans import NewBans
from agent_health.checker import HealthChecker
from agent_health.heartbeats import Heartbeats
from agent_health.loops import loops_of
from agent_health.omissions import Omissions
from agent_health.reachability import Check, Reachability, answers_ok
from agent_health.routes import ROUTES, State
from agent_health.settings import Settings
from agent_health.statistics import Statistics
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
from platform_server.store.connection import Pool, acquire, answers, open_pool
from platform_server.store.leases import Lease

NAME = "agent-health"


def create_app(settings: Settings, runtime: serve.Runtime) -> Starlette:
    return Starlette(
        routes=ROUTES,
        middleware=[Middleware(Edge, trusted=client_address.networks(settings.trusted_proxies))],
        exception_handlers=problems.HANDLERS,
        lifespan=partial(_lifespan, settings=settings, runtime=runtime),
    )


@asynccontextmanager
async def _lifespan(_: Starlette, *, settings: Settings, runtime: serve.Runtime) -> AsyncIterator[State]:
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings.database_url, size=settings.pool_size, name=NAME))
        redis = await stack.enter_async_context(connect(settings.redis_url))
        new_bans = NewBans(pool)
        limiter = Limiter(redis, LimiterSettings(), on_ban=new_bans.add, on_redis=metrics.REDIS_UP.set)
        keys = AgentKeys(partial(_identity, pool), limiter)
        announcer = Announcer(partial(wakeups.publish, redis), partial(streams.append, redis))
        interval = timedelta(seconds=settings.next_heartbeat_seconds)
        omissions = Omissions(interval)

        def heard(raw: bytes) -> None:
            keys.forget(AgentId(msgspec.json.decode(raw, type=AgentControl).agent_id))

        async def clean_up() -> int:
            keys.sweep()
            limiter.cleanup()
            omissions.forget_old()
            return 0

        lease = Lease(NAME, f"{socket.gethostname()}-{uuid4()}", timedelta(seconds=settings.lease_seconds))
        reachability = Reachability(_checks(pool, settings))
        stale_after = timedelta(seconds=settings.stale_after_seconds)
        checker = HealthChecker(pool, lease, announcer, reachability, stale_after=stale_after)
        loops = [
            *loops_of(checker, Statistics(pool, lease), reachability, settings),
            Loop("bans", new_bans.keep, timedelta(seconds=1)),
            Loop("clean-up", clean_up, LimiterSettings().cleanup_interval),
        ]
        runtime.health.postgres = partial(answers, pool)
        runtime.health.redis = partial(is_up, redis)
        runtime.health.loops = loops
        stack.push_async_callback(lease.give_up, pool)
        await stack.enter_async_context(listening(Subscription(redis, {Channel.AGENT_CONTROL: heard})))
        await stack.enter_async_context(running(loops))
        heartbeats = Heartbeats(pool, announcer, omissions, max_retries=settings.max_retries)
        yield State(agents=keys, heartbeats=heartbeats, next_heartbeat=interval)


async def _identity(pool: Pool, key_hash: str) -> agents.Identity | None:
    async with acquire(pool) as conn:
        return await agents.identity(conn, key_hash)


def _checks(pool: Pool, settings: Settings) -> Sequence[Check]:
    postgres = partial(answers, pool)
    if not settings.gateway_health_url:
        return [postgres]
    return [postgres, partial(answers_ok, settings.gateway_health_url)]


def main() -> None:
    serve.main(NAME, Settings, create_app)
