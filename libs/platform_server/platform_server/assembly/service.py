"""A service's frame: the app around its routes, and the connections that every service has."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from platform_server.assembly.announcer import Announcer
from platform_server.kit import client_address, problems
from platform_server.kit.asgi import Edge
from platform_server.kit.auth import JwtRules
from platform_server.kit.serve import Runtime
from platform_server.kit.settings import ServiceSettings
from platform_server.signals.connection import Client, connect, is_up
from platform_server.signals.limiter import LimiterSettings
from platform_server.store.connection import Pool, answers, open_pool

# What a lifespan yields is a service's own State.
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Opened:
    """What every service works with. ``stack`` closes whatever a service opens besides, in the opposite order."""

    pool: Pool
    redis: Client
    announcer: Announcer
    stack: AsyncExitStack


def application(routes: Sequence[Route], lifespan: Lifespan, settings: ServiceSettings) -> Starlette:
    """The public app: these routes, behind the middleware and the problem answers that all services share."""
    return Starlette(
        routes=routes,
        middleware=[Middleware(Edge, trusted=client_address.networks(settings.trusted_proxies))],
        exception_handlers=problems.HANDLERS,
        lifespan=lifespan,
    )


@asynccontextmanager
async def opened(settings: ServiceSettings, runtime: Runtime, *, name: str) -> AsyncIterator[Opened]:
    """Postgres and Redis, and the probes that look at them."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings.database_url, size=settings.pool_size, name=name))
        redis = await stack.enter_async_context(connect(settings.redis_url))
        runtime.health.postgres = partial(answers, pool)
        runtime.health.redis = partial(is_up, redis)
        announcer = Announcer(redis)
        stack.push_async_callback(announcer.finish)
        yield Opened(pool, redis, announcer, stack)


def limits_of(settings: ServiceSettings) -> LimiterSettings:
    return LimiterSettings(allow_listed=tuple(client_address.networks(settings.auth_allow_listed)))


def jwt_rules(settings: ServiceSettings) -> JwtRules:
    return JwtRules(settings.jwt_secret, settings.jwt_issuer, settings.jwt_audience)
