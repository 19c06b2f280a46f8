"""The dispatcher, composed."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from uuid import uuid4

import msgspec
from starlette.applications import Starlette

from dispatcher.broker import Broker
from dispatcher.events import KEEP_ALIVE_SECONDS, Control
from dispatcher.polls import Polls
from dispatcher.put_backs import PutBacks
from dispatcher.reports import Reports
from dispatcher.routes import ROUTES, State
from dispatcher.settings import Settings
from dispatcher.signs import Signs
from platform_core.domain import tokens
from platform_core.domain.ids import JobId
from platform_core.wire.events import JobQueued
from platform_server.assembly.agent_door import agent_door
from platform_server.assembly.service import application, limits_of, opened
from platform_server.kit import serve
from platform_server.kit.loops import Loop, beside, running
from platform_server.kit.settings import job_token_keys
from platform_server.signals import waiting
from platform_server.signals.wakeups import Channel, Subscription
from platform_server.store.claiming import PAUSED_AFTER, Claiming
from platform_server.store.connection import open_pool

NAME = "dispatcher"


def create_app(settings: Settings, runtime: serve.Runtime) -> Starlette:
    return application(ROUTES, partial(_lifespan, settings=settings, runtime=runtime), settings)


@asynccontextmanager
async def _lifespan(_: Starlette, *, settings: Settings, runtime: serve.Runtime) -> AsyncIterator[State]:
    keys = job_token_keys(settings.job_token_keys)
    async with opened(settings, runtime, name=NAME) as at:
        # Claims and reports have connections of their own: neither stands in line behind the other.
        pool = await at.stack.enter_async_context(
            open_pool(settings.database_url, size=1, name=f"{NAME}-claim", paused_after=PAUSED_AFTER)
        )
        claiming = Claiming(
            pool,
            token_hash=partial(_token_hash, keys),
            region_patience=timedelta(seconds=settings.region_patience_seconds),
        )
        door = agent_door(at.pool, at.redis, limits_of(settings))
        put_backs = PutBacks(at.pool, at.announcer)
        broker = Broker(claiming.claim, put_backs.add)
        signs = Signs(at.pool, held_every=settings.presence_seconds)
        reports = Reports(at.pool, broker, at.announcer, signs)
        name = f"{socket.gethostname()}-{uuid4()}"
        polls = Polls(at.pool, broker, signs, announce=partial(waiting.announce, at.redis, name))
        control = Control(at.pool, broker, door.keys)

        def job_queued(raw: bytes) -> None:
            broker.job_queued(msgspec.json.decode(raw, type=JobQueued).requirement)

        subscription = Subscription(
            at.redis,
            {Channel.JOB_QUEUE: job_queued, Channel.AGENT_CONTROL: control.heard},
            on_connect=broker.look_again,
        )
        runtime.health.loops = loops = [
            Loop("claims", broker.step, timedelta(seconds=5), wake=broker.work),
            Loop("slots", claiming.sum_slots, timedelta(seconds=1)),
            Loop("put-backs", put_backs.write, timedelta(seconds=1), wake=put_backs.work),
            Loop("sweep", polls.sweep, timedelta(seconds=settings.sweep_seconds), jitter=0.2),
            Loop("presence", polls.note_held, timedelta(seconds=1)),
            Loop("signs", signs.write, timedelta(seconds=1)),
            Loop("old-signs", signs.forget_old, timedelta(seconds=60)),
            Loop("waiting", polls.tell_waiting, timedelta(seconds=waiting.EVERY_SECONDS)),
            Loop("idle-streams", control.end_idle, timedelta(seconds=KEEP_ALIVE_SECONDS)),
            *door.loops,
        ]
        at.stack.push_async_callback(put_backs.write)
        at.stack.push_async_callback(signs.write)
        await at.stack.enter_async_context(beside(subscription.run(), "subscription"))
        await at.stack.enter_async_context(running(loops))
        await at.stack.enter_async_context(beside(_drain(runtime.draining, broker), "drain"))
        yield State(
            agents=door.keys,
            broker=broker,
            polls=polls,
            put_backs=put_backs,
            reports=reports,
            control=control,
            announcer=at.announcer,
            token_keys=keys,
            draining=runtime.draining,
        )


async def _drain(draining: asyncio.Event, broker: Broker) -> None:
    await draining.wait()
    broker.drain()


def _token_hash(keys: Mapping[str, bytes], job: JobId, attempt: int) -> str:
    kid, key = next(iter(keys.items()))
    return tokens.secret_hash(tokens.job_token(job, attempt, kid=kid, key=key))


def main() -> None:
    serve.main(NAME, Settings, create_app)
