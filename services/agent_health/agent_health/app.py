"""Agent health, composed."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import msgspec
from starlette.applications import Starlette

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
from platform_server.assembly.agent_door import agent_door
from platform_server.assembly.service import application, limits_of, opened
from platform_server.assembly.workers import Acting, lease_of
from platform_server.kit import serve
from platform_server.kit.loops import Loop, beside, running
from platform_server.signals.wakeups import Channel, Subscription
from platform_server.store.connection import Pool, answers

NAME = "agent-health"


def create_app(settings: Settings, runtime: serve.Runtime) -> Starlette:
    return application(ROUTES, partial(_lifespan, settings=settings, runtime=runtime), settings)


@asynccontextmanager
async def _lifespan(_: Starlette, *, settings: Settings, runtime: serve.Runtime) -> AsyncIterator[State]:
    async with opened(settings, runtime, name=NAME) as at:
        door = agent_door(at.pool, at.redis, limits_of(settings))
        interval = timedelta(seconds=settings.next_heartbeat_seconds)
        omissions = Omissions(interval)

        def heard(raw: bytes) -> None:
            door.keys.forget(AgentId(msgspec.json.decode(raw, type=AgentControl).agent_id))

        acting = Acting(at.pool, lease_of(NAME, seconds=settings.lease_seconds))
        reachability = Reachability(
            _checks(at.pool, settings), every=timedelta(seconds=settings.probe_interval_seconds)
        )
        stale_after = timedelta(seconds=settings.stale_after_seconds)
        checker = HealthChecker(acting, at.announcer, reachability, stale_after=stale_after)
        runtime.health.loops = loops = [
            *loops_of(checker, Statistics(at.pool, acting), reachability, settings),
            *door.loops,
            Loop("omissions", omissions.forget_old, interval * 10),
        ]
        at.stack.push_async_callback(acting.give_up)
        subscription = Subscription(at.redis, {Channel.AGENT_CONTROL: heard})
        await at.stack.enter_async_context(beside(subscription.run(), "subscription"))
        await at.stack.enter_async_context(running(loops))
        heartbeats = Heartbeats(at.pool, at.announcer, omissions, max_retries=settings.max_retries)
        yield State(agents=door.keys, heartbeats=heartbeats, next_heartbeat=interval)


def _checks(pool: Pool, settings: Settings) -> Sequence[Check]:
    postgres = partial(answers, pool)
    if not settings.gateway_health_url:
        return [postgres]
    return [postgres, partial(answers_ok, settings.gateway_health_url)]


def main() -> None:
    serve.main(NAME, Settings, create_app)
