"""Composition: the registration service and what its lifespan opens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from starlette.applications import Starlette

from platform_server.assembly.bans import NewBans
from platform_server.assembly.service import application, jwt_rules, limits_of, opened
from platform_server.kit import metrics, serve
from platform_server.kit.loops import Loop, running
from platform_server.kit.serve import Runtime
from platform_server.signals.limiter import Limiter
from registration import bans
from registration.routes import ROUTES
from registration.routes.requests import State
from registration.settings import Settings

NAME = "registration"


def create_app(settings: Settings, runtime: Runtime) -> Starlette:
    """The public app; ``runtime`` is told how its health is looked at."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[State]:
        async with _open(settings, runtime) as state:
            yield state

    return application(ROUTES, lifespan, settings)


@asynccontextmanager
async def _open(settings: Settings, runtime: Runtime) -> AsyncIterator[State]:
    async with opened(settings, runtime, name=NAME) as at:
        limits = limits_of(settings)
        new_bans = NewBans(at.pool)
        limiter = Limiter(at.redis, limits, on_ban=new_bans.add, on_redis=metrics.REDIS_UP.set)
        runtime.health.loops = loops = [
            Loop("keep-bans", new_bans.keep, timedelta(seconds=1)),
            Loop("restore-bans", partial(bans.restore, at.pool, limiter), timedelta(seconds=10)),
            Loop("clean-up", partial(bans.cleanup, limiter), limits.cleanup_interval),
        ]
        await at.stack.enter_async_context(running(loops))
        yield State(
            pool=at.pool,
            jwt=jwt_rules(settings),
            limiter=limiter,
            announcer=at.announcer,
            rotation_grace=settings.rotation_grace,
        )


def main() -> None:
    serve.main(NAME, Settings, create_app)
