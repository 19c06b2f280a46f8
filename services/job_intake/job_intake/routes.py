"""The tenants' routes, and the administrators' statistics. A handler decodes, calls, encodes."""

from collections.abc import Sequence
from typing import Annotated, TypedDict

import msgspec
from msgspec import Meta
from starlette.requests import Request as AnyRequest
from starlette.responses import Response
from starlette.routing import Route

from job_intake import documents, validation, views
from job_intake.counts import counted
from job_intake.submissions import Submissions
from platform_core.domain.errors import FieldError, Invalid, JobOver, NotFound
from platform_core.domain.ids import JobId, TenantId
from platform_core.domain.jobs import MAX_PAYLOAD_BYTES, JobStatus
from platform_core.wire import jobs as wire
from platform_core.wire.events import ControlKind, JobEventKind
from platform_core.wire.queries import JobQuery
from platform_server.assembly.announcer import Announcer
from platform_server.kit import auth, metrics, pages, security
from platform_server.kit.bodies import answer, decode, read_bytes
from platform_server.signals.rate import SubmitRate
from platform_server.store import jobs, tenants
from platform_server.store.connection import Pool, acquire, transaction

# Room for the fields around the payload, whose own limit is judged apart.
_BODY_LIMIT = MAX_PAYLOAD_BYTES + 65_536

_Key = Annotated[str, Meta(min_length=1, max_length=255)]


class State(TypedDict):
    """What the lifespan opens."""

    pool: Pool
    jwt: auth.JwtRules
    submissions: Submissions
    announcer: Announcer
    rate: SubmitRate


Request = AnyRequest[State]


async def submit(request: Request) -> Response:
    tenant = await _active_tenant(request, submits=True)
    with counted() as counts:
        asked = await _submission(request)
        counts.type = asked.type
        submitted = await request.state["submissions"].submit(
            tenant, asked, key=_idempotency_key(request), traceparent=request.headers.get("traceparent")
        )
    return answer(submitted, 201)


async def retry(request: Request) -> Response:
    """A failed job once more, as a new one: the queue limit holds."""
    tenant = await _active_tenant(request, submits=True)
    failed = await _find(request, tenant)
    if failed.status is not JobStatus.FAILED:
        raise JobOver("Only a failed job can be tried again.")
    asked = wire.SubmitJob(
        type=failed.type,
        payload=msgspec.Raw(failed.payload.encode()),
        priority=failed.priority,
        capabilities=failed.capabilities,
        preferred_region=failed.preferred_region,
        timeout=failed.timeout_seconds,
    )
    submitted = await request.state["submissions"].submit(
        tenant, asked, key=_idempotency_key(request), traceparent=None, retry_of=failed.id
    )
    return answer(submitted, 201)


async def listing(request: Request) -> Response:
    tenant = await _active_tenant(request)
    asked = pages.query(request, JobQuery)
    only = jobs.Filter(asked.status, asked.type, asked.priority)
    async with acquire(request.state["pool"]) as conn:
        found = await jobs.page(conn, tenant, only, after=pages.after(asked, JobId), limit=asked.limit + 1)
    page = pages.cut(found, asked, lambda job: job.id)
    return answer(wire.Jobs(jobs=tuple(views.job(job) for job in page.items), next_cursor=page.next_cursor))


async def get(request: Request) -> Response:
    tenant = await _active_tenant(request)
    job = await _find(request, tenant)
    position = None
    if job.status is JobStatus.QUEUED:
        async with acquire(request.state["pool"]) as conn:
            position = await jobs.position(conn, tenant, job.id)
    return answer(wire.JobAnswer(job=views.job(job, position=position)))


async def cancel(request: Request) -> Response:
    tenant = await _active_tenant(request)
    job = (await _find(request, tenant)).id
    async with transaction(request.state["pool"]) as conn:
        cancelled = await jobs.cancel(conn, tenant, job)
    announcer = request.state["announcer"]
    if cancelled.agent is not None:
        await announcer.stop(ControlKind.CANCEL, [(cancelled.agent, job)])
    await announcer.happened(JobEventKind.CANCELLED, job, tenant, agent=cancelled.agent, attempt=cancelled.attempt)
    return answer(wire.JobAnswer(job=views.job(await _find(request, tenant))))


async def statistics(request: Request) -> Response:
    auth.admin(request, request.state["jwt"])
    async with acquire(request.state["pool"]) as conn:
        stats = await jobs.statistics(conn)
    return answer(wire.QueueStatsAnswer(stats=msgspec.convert(stats, wire.QueueStats)))


ROUTES: Sequence[Route] = [
    Route("/api/v1/platform-jobs", submit, methods=["POST"]),
    Route("/api/v1/platform-jobs", listing, methods=["GET"]),
    Route("/api/v1/platform-jobs/{id:uuid}", get, methods=["GET"]),
    Route("/api/v1/platform-jobs/{id:uuid}/cancel", cancel, methods=["POST"]),
    Route("/api/v1/platform-jobs/{id:uuid}/retry", retry, methods=["POST"]),
    Route("/api/v1/admin/platform-jobs/stats", statistics, methods=["GET"]),
    Route("/api/v1/openapi.json", documents.openapi, methods=["GET"]),
    Route("/api/docs", documents.page, methods=["GET"]),
]


async def _active_tenant(request: Request, *, submits: bool = False) -> TenantId:
    """The caller's tenant, if it is known and active; a submission takes one of its tokens."""
    tenant = auth.tenant_of(auth.tenant(request, request.state["jwt"]))
    async with acquire(request.state["pool"]) as conn:
        standing = await tenants.standing(conn, tenant)
    if submits:
        await request.state["rate"].take(tenant, rate=standing.submit_rate, burst=standing.submit_burst)
    return tenant


async def _submission(request: Request) -> wire.SubmitJob:
    """A valid submission. Raises Invalid, TooLarge or UnsupportedMedia."""
    asked = decode(await read_bytes(request, limit=_BODY_LIMIT), wire.SubmitJob)
    found = validation.problems(asked)
    for problem in found:
        metrics.VALIDATION_FAILURES.labels(problem.reason).inc()
    validation.refuse(found)
    return asked


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    try:
        return msgspec.convert(key, _Key) if key is not None else None
    except msgspec.ValidationError as error:
        raise Invalid([FieldError("Idempotency-Key", str(error))]) from error


async def _find(request: Request, tenant: TenantId) -> jobs.Job:
    """Raises NotFound; another tenant's job is as absent as one that never was, but it is a security event."""
    job = JobId(request.path_params["id"])
    async with acquire(request.state["pool"]) as conn:
        try:
            return await jobs.find(conn, tenant, job)
        except NotFound:
            if await jobs.belongs_to_another(conn, tenant, job):
                security.emit(
                    security.SecurityEvent.JOB_ACCESS_DENIED,
                    "other_tenant",
                    tenant=tenant,
                    job=job,
                    address=str(request.scope["client_address"]),
                )
            raise
