"""Composition: the registration service and what its lifespan opens."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

from starlette.applications import Starlette
from starlette.middleware import Middleware

from platform_server.kit import metrics, serve
from platform_server.kit.asgi import Edge
from platform_server.kit.auth import JwtRules
from platform_server.kit.client_address import networks
from platform_server.kit.loops import Loop, running
from platform_server.kit.problems import HANDLERS
from platform_server.kit.serve import Runtime
from platform_server.signals import streams, wakeups
from platform_server.signals.connection import connect, is_up
from platform_server.signals.limiter import Limiter, LimiterSettings
from platform_server.store.connection import answers, open_pool
from registration import bans
from registration.announcements import Announcer
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

    return Starlette(
        routes=ROUTES,
        middleware=[Middleware(Edge, trusted=networks(settings.trusted_proxies))],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )


@asynccontextmanager
async def _open(settings: Settings, runtime: Runtime) -> AsyncIterator[State]:
    new_bans = bans.NewBans()
    limits = LimiterSettings(allow_listed=networks(settings.auth_allow_listed))
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings.database_url, size=settings.pool_size, name=NAME))
        redis = await stack.enter_async_context(connect(settings.redis_url))
        limiter = Limiter(
            redis,
            limits,
            on_ban=lambda network, duration: new_bans.append((network, duration)),
            on_redis=metrics.REDIS_UP.set,
        )
        loops = [
            Loop("restore_bans", partial(bans.restore, pool, limiter), timedelta(seconds=10)),
            Loop("limiter_cleanup", partial(bans.cleanup, limiter), limits.cleanup_interval),
        ]
        runtime.health.postgres = partial(answers, pool)
        runtime.health.redis = partial(is_up, redis)
        runtime.health.loops = loops
        await stack.enter_async_context(running(loops))
        yield State(
            pool=pool,
            jwt=JwtRules(settings.jwt_secret, settings.jwt_issuer, settings.jwt_audience),
            limiter=limiter,
            new_bans=new_bans,
            announcer=Announcer(publish=partial(wakeups.publish, redis), append=partial(streams.append, redis)),
            rotation_grace=settings.rotation_grace,
        )


def main() -> None:
    serve.main(NAME, Settings, create_app)
