"""Job intake, composed."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from starlette.applications import Starlette

from job_intake.assignments import Assignments
from job_intake.routes import ROUTES, State
from job_intake.settings import Settings
from job_intake.submissions import Submissions
from platform_core.domain.ids import TenantId
from platform_core.domain.scheduling import Profile
from platform_server.assembly.service import application, jwt_rules, opened
from platform_server.kit import serve
from platform_server.kit.admission import Admission
from platform_server.kit.batching import Batch
from platform_server.kit.loops import beside
from platform_server.kit.remembered import Remembered
from platform_server.kit.settings import job_token_keys
from platform_server.signals import waiting
from platform_server.signals.rate import SubmitRate
from platform_server.signals.wakeups import Channel, Subscription
from platform_server.store import tenants
from platform_server.store.connection import acquire

NAME = "job-intake"

# Who waits changes all the time, and is a hint: whether an answer may wait for an assignment.
_OFFERED_SECONDS = 0.25
# A suspension or another plan bites after so long; the queue's limit itself is looked up with every submission.
_STANDING_SECONDS = 1.0


def create_app(settings: Settings, runtime: serve.Runtime) -> Starlette:
    return application(ROUTES, partial(_lifespan, settings=settings, runtime=runtime), settings)


@asynccontextmanager
async def _lifespan(_: Starlette, *, settings: Settings, runtime: serve.Runtime) -> AsyncIterator[State]:
    async with opened(settings, runtime, name=NAME) as at:
        known = Remembered[None, list[Profile]](lambda _: waiting.offered(at.redis), seconds=_OFFERED_SECONDS)

        async def offered() -> Sequence[Profile]:
            """Nothing that could be waited for, while nobody could tell us of it."""
            return await known.get(None) if subscription.connected.is_set() else ()

        async def standing(tenant: TenantId) -> tenants.Standing:
            async with acquire(at.pool) as conn:
                return await tenants.standing(conn, tenant)

        assignments = Assignments(offered, wait=timedelta(milliseconds=settings.assign_wait_ms))
        subscription = Subscription(at.redis, {Channel.JOB_ASSIGNED: assignments.heard})
        await at.stack.enter_async_context(beside(subscription.run(), "subscription"))
        yield State(
            pool=at.pool,
            jwt=jwt_rules(settings),
            submissions=Submissions(at.pool, at.announcer, assignments, job_token_keys(settings.job_token_keys)),
            announcer=at.announcer,
            standings=Remembered(standing, seconds=_STANDING_SECONDS),
            rate=Batch(SubmitRate(at.redis).take),
            admission=Admission(
                most=settings.max_submissions_in_work,
                patience=timedelta(milliseconds=settings.submission_patience_ms),
            ),
        )


def main() -> None:
    serve.main(NAME, Settings, create_app)
