"""The tenants' routes, and the administrators' statistics. A handler decodes, calls, encodes."""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import msgspec
from starlette.requests import Request as AnyRequest
from starlette.responses import Response
from starlette.routing import Route

from job_intake import counts, documents, validation, views
from job_intake.submissions import Submissions
from platform_core.domain.errors import JobOver, NotFound
from platform_core.domain.ids import JobId, TenantId
from platform_core.domain.jobs import MAX_PAYLOAD_BYTES, JobStatus
from platform_core.wire import jobs as wire
from platform_core.wire.events import ControlKind, JobEventKind
from platform_core.wire.queries import JobQuery
from platform_server.assembly.announcer import Announcer
from platform_server.kit import auth, pages, security
from platform_server.kit.admission import Admission
from platform_server.kit.batching import Batch
from platform_server.kit.bodies import answer, read_bytes
from platform_server.kit.remembered import Remembered
from platform_server.signals.rate import Take
from platform_server.store import jobs, tenants
from platform_server.store.connection import Pool, acquire, transaction

# Room for the fields around the payload, whose own limit is judged apart.
_BODY_LIMIT = MAX_PAYLOAD_BYTES + 65_536


class State(TypedDict):
    """What the lifespan opens."""

    pool: Pool
    jwt: auth.JwtRules
    submissions: Submissions
    announcer: Announcer
    standings: Remembered[TenantId, tenants.Standing]
    rate: Batch[Take, int]
    admission: Admission


Request = AnyRequest[State]


class _Submitter(NamedTuple):
    tenant: TenantId
    standing: tenants.Standing


async def submit(request: Request) -> Response:
    _admitted(request)
    submitter = await _submitter(request)
    with counts.refusals() as submission:
        await _within_rate(request, submitter)
        asked = validation.read(await read_bytes(request, limit=_BODY_LIMIT))
        submission.type = asked.type
        return await _submitted(request, submitter.tenant, asked)


async def retry(request: Request) -> Response:
    """A failed job once more, as a new one: the queue limit holds."""
    _admitted(request)
    submitter = await _submitter(request)
    failed = await _find(request, submitter.tenant)
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
    with counts.refusals() as submission:
        submission.type = asked.type
        await _within_rate(request, submitter)
        return await _submitted(request, submitter.tenant, asked, retry_of=failed.id)


async def listing(request: Request) -> Response:
    tenant = await _active_tenant(request)
    asked = pages.query(request, JobQuery)
    only = jobs.Filter(asked.status, asked.type, asked.priority)
    async with acquire(request.state["pool"]) as conn:
        found = await jobs.page(conn, tenant, only, after=pages.after(asked, JobId), limit=asked.limit + 1)
        queued = [job.id for job in found if job.status is JobStatus.QUEUED]
        positions = await jobs.positions(conn, tenant, queued) if queued else {}
    page = pages.cut(found, asked, lambda job: job.id)
    shown = tuple(views.job(job, position=positions.get(job.id)) for job in page.items)
    return answer(wire.Jobs(jobs=shown, next_cursor=page.next_cursor))


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
    announcer.happened(JobEventKind.CANCELLED, job, tenant, agent=cancelled.agent, attempt=cancelled.attempt)
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


async def _active_tenant(request: Request) -> TenantId:
    """The caller's tenant, if it is known and active."""
    return (await _submitter(request)).tenant


async def _submitter(request: Request) -> _Submitter:
    tenant = auth.tenant_of(auth.tenant(request, request.state["jwt"]))
    return _Submitter(tenant, await request.state["standings"].get(tenant))


def _admitted(request: Request) -> None:
    """Before anything else is done for it: to refuse must cost next to nothing."""
    with counts.early_refusals():
        request.state["admission"].check()


async def _within_rate(request: Request, submitter: _Submitter) -> None:
    standing = submitter.standing
    await request.state["rate"].add(Take(submitter.tenant, standing.submit_rate, standing.submit_burst))


async def _submitted(
    request: Request, tenant: TenantId, asked: wire.SubmitJob, *, retry_of: JobId | None = None
) -> Response:
    key = validation.idempotency_key(request.headers.get("idempotency-key"))
    with request.state["admission"].standing():
        submitted = await request.state["submissions"].submit(
            tenant, asked, key=key, traceparent=request.scope["traceparent"], retry_of=retry_of
        )
    return answer(submitted, 201)


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
