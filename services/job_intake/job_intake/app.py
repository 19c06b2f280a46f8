"""Job intake, composed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from starlette.applications import Starlette

from job_intake.routes import ROUTES, State
from job_intake.settings import Settings
from job_intake.submissions import Submissions
from platform_server.assembly.service import application, jwt_rules, opened
from platform_server.kit import serve
from platform_server.kit.settings import job_token_keys
from platform_server.signals import waiting
from platform_server.signals.rate import SubmitRate

NAME = "job-intake"


def create_app(settings: Settings, runtime: serve.Runtime) -> Starlette:
    return application(ROUTES, partial(_lifespan, settings=settings, runtime=runtime), settings)


@asynccontextmanager
async def _lifespan(_: Starlette, *, settings: Settings, runtime: serve.Runtime) -> AsyncIterator[State]:
    async with opened(settings, runtime, name=NAME) as at:
        submissions = Submissions(
            at.pool,
            at.announcer,
            job_token_keys(settings.job_token_keys),
            somebody_fits=partial(waiting.somebody_fits, at.redis),
            assign_wait=timedelta(milliseconds=settings.assign_wait_ms),
        )
        yield State(
            pool=at.pool,
            jwt=jwt_rules(settings),
            submissions=submissions,
            announcer=at.announcer,
            rate=SubmitRate(at.redis),
        )


def main() -> None:
    serve.main(NAME, Settings, create_app)
