"""The dispatcher, composed."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from functools import partial

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware

from dispatcher.broker import Broker
from dispatcher.events import Control
from dispatcher.polls import Polls
from dispatcher.reports import Announcer, Reports
from dispatcher.routes import ROUTES, State
from dispatcher.settings import Settings
from platform_core.domain import tokens
from platform_core.domain.ids import JobId
from platform_core.domain.scheduling import Requirement
from platform_core.wire.events import JobQueued
from platform_server.kit import client_address, metrics, problems, serve
from platform_server.kit.agent_auth import AgentKeys
from platform_server.kit.asgi import Edge
from platform_server.kit.loops import Loop, running
from platform_server.kit.settings import job_token_keys
from platform_server.signals import streams, wakeups
from platform_server.signals.connection import connect, is_up
from platform_server.signals.limiter import Limiter, LimiterSettings
from platform_server.signals.wakeups import Channel, Subscription, listening
from platform_server.store import agents, claims
from platform_server.store.claims import Claimed, HandedOut, Offer
from platform_server.store.connection import acquire, answers, open_pool


def create_app(settings: Settings, runtime: serve.Runtime) -> Starlette:
    return Starlette(
        routes=ROUTES,
        middleware=[Middleware(Edge, trusted=client_address.networks(settings.trusted_proxies))],
        exception_handlers=problems.HANDLERS,
        lifespan=partial(_lifespan, settings=settings, runtime=runtime),
    )


@asynccontextmanager
async def _lifespan(_: Starlette, *, settings: Settings, runtime: serve.Runtime) -> AsyncIterator[State]:
    keys = job_token_keys(settings.job_token_keys)
    async with AsyncExitStack() as stack:
        # Claims and reports have connections of their own: neither stands in line behind the other.
        pool = await stack.enter_async_context(
            open_pool(settings.database_url, size=settings.pool_size, name="dispatcher")
        )
        claiming = await stack.enter_async_context(open_pool(settings.database_url, size=1, name="dispatcher-claim"))
        redis = await stack.enter_async_context(connect(settings.redis_url))

        async def find(key_hash: str) -> agents.Identity | None:
            async with acquire(pool) as conn:
                return await agents.identity(conn, key_hash)

        async def claim(offers: Sequence[Offer]) -> Claimed:
            return await claims.claim(
                claiming,
                offers,
                token_hash=partial(_token_hash, keys),
                region_patience=timedelta(seconds=settings.region_patience_seconds),
            )

        async def put_back(jobs: Sequence[HandedOut]) -> None:
            await reports.put_back(jobs)

        limiter = Limiter(redis, LimiterSettings(), on_redis=metrics.REDIS_UP.set)
        agent_keys = AgentKeys(find, limiter)
        broker = Broker(claim, put_back)
        announcer = Announcer(partial(wakeups.publish, redis), partial(streams.append, redis))
        reports = Reports(pool, broker, announcer)
        polls = Polls(pool, broker)
        control = Control(pool, broker, agent_keys)

        def job_queued(raw: bytes) -> None:
            queued = msgspec.json.decode(raw, type=JobQueued)
            broker.job_queued(Requirement(frozenset(queued.capabilities), queued.tool, queued.preferred_region))

        async def clean_up() -> int:
            agent_keys.sweep()
            limiter.cleanup()
            return 0

        subscription = Subscription(
            redis,
            {Channel.JOB_QUEUE: job_queued, Channel.AGENT_CONTROL: control.heard},
            on_connect=broker.look_again,
        )
        loops = [
            Loop("sweep", polls.sweep, timedelta(seconds=settings.sweep_seconds), jitter=0.2),
            Loop("presence", polls.note_held, timedelta(seconds=settings.presence_seconds)),
            Loop("clean-up", clean_up, LimiterSettings().cleanup_interval),
        ]
        await stack.enter_async_context(listening(subscription))
        await stack.enter_async_context(running(loops))
        await stack.enter_async_context(_in_background(broker.run(), "claims"))
        await stack.enter_async_context(_in_background(_drain(runtime.draining, broker), "drain"))
        runtime.health.postgres = partial(answers, pool)
        runtime.health.redis = partial(is_up, redis)
        runtime.health.loops = loops
        yield State(
            agents=agent_keys,
            broker=broker,
            polls=polls,
            reports=reports,
            control=control,
            announcer=announcer,
            token_keys=keys,
            draining=runtime.draining,
        )


async def _drain(draining: asyncio.Event, broker: Broker) -> None:
    await draining.wait()
    broker.drain()


@asynccontextmanager
async def _in_background(work: Coroutine[None, None, None], name: str) -> AsyncIterator[None]:
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _token_hash(keys: dict[str, bytes], job: JobId, attempt: int) -> str:
    kid, key = next(iter(keys.items()))
    return tokens.secret_hash(tokens.job_token(job, attempt, kid=kid, key=key))


def main() -> None:
    serve.main("dispatcher", Settings, create_app)
