"""Job intake, composed."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

from starlette.applications import Starlette
from starlette.middleware import Middleware

from job_intake.routes import ROUTES, State
from job_intake.settings import Settings
from job_intake.submissions import Signals, Submissions
from platform_server.kit import client_address, problems, serve
from platform_server.kit.asgi import Edge
from platform_server.kit.auth import JwtRules
from platform_server.kit.settings import job_token_keys
from platform_server.signals import streams, waiting, wakeups
from platform_server.signals.connection import connect, is_up
from platform_server.signals.rate import SubmitRate
from platform_server.store.connection import answers, open_pool


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
        pool = await stack.enter_async_context(
            open_pool(settings.database_url, size=settings.pool_size, name="job-intake")
        )
        redis = await stack.enter_async_context(connect(settings.redis_url))
        signals = Signals(
            publish=partial(wakeups.publish, redis),
            append=partial(streams.append, redis),
            somebody_fits=partial(waiting.somebody_fits, redis),
        )
        runtime.health.postgres = partial(answers, pool)
        runtime.health.redis = partial(is_up, redis)
        yield State(
            pool=pool,
            jwt=JwtRules(settings.jwt_secret, settings.jwt_issuer, settings.jwt_audience),
            submissions=Submissions(
                pool,
                signals,
                job_token_keys(settings.job_token_keys),
                assign_wait=timedelta(milliseconds=settings.assign_wait_ms),
            ),
            signals=signals,
            rate=SubmitRate(redis),
        )


def main() -> None:
    serve.main("job-intake", Settings, create_app)
