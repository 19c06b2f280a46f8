"""Job intake: what tenants do with their jobs, the queue's statistics, and this document."""

from functools import partial
from http import HTTPMethod, HTTPStatus
from typing import Final

from platform_core.wire import jobs, queries
from platform_core.wire.openapi import Credentials, Operation

_JOBS: Final = "/api/v1/platform-jobs"

_of_jobs = partial(Operation, tag="jobs", needs=Credentials.TENANT)
_of_documents = partial(Operation, tag="documentation", needs=Credentials.NONE)

JOB_INTAKE: Final = (
    _of_jobs(
        name="submit_job",
        method=HTTPMethod.POST,
        path=_JOBS,
        summary="Submit a job. 429 when the tenant's queue is full or it submits too fast.",
        request=jobs.SubmitJob,
        answers={HTTPStatus.CREATED: jobs.Submitted},
        refusals=frozenset({HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.TOO_MANY_REQUESTS}),
        idempotency_key=True,
    ),
    _of_jobs(
        name="list_jobs",
        method=HTTPMethod.GET,
        path=_JOBS,
        summary="List the tenant's jobs, newest first.",
        query=queries.JobQuery,
        answers={HTTPStatus.OK: jobs.Jobs},
    ),
    _of_jobs(
        name="get_job",
        method=HTTPMethod.GET,
        path=f"{_JOBS}/{{id}}",
        summary="A job: its state, place in the queue, attempts and result.",
        answers={HTTPStatus.OK: jobs.JobAnswer},
    ),
    _of_jobs(
        name="cancel_job",
        method=HTTPMethod.POST,
        path=f"{_JOBS}/{{id}}/cancel",
        summary="End a job at once. 409 when it is already over.",
        answers={HTTPStatus.OK: jobs.JobAnswer},
        refusals=frozenset({HTTPStatus.CONFLICT}),
    ),
    _of_jobs(
        name="retry_job",
        method=HTTPMethod.POST,
        path=f"{_JOBS}/{{id}}/retry",
        summary="Submit a failed job again, as a new job. 409 when it did not fail.",
        answers={HTTPStatus.CREATED: jobs.Submitted},
        refusals=frozenset(
            {
                HTTPStatus.BAD_REQUEST,
                HTTPStatus.CONFLICT,
                HTTPStatus.UNPROCESSABLE_ENTITY,
                HTTPStatus.TOO_MANY_REQUESTS,
            }
        ),
        idempotency_key=True,
    ),
    Operation(
        name="queue_stats",
        method=HTTPMethod.GET,
        path="/api/v1/admin/platform-jobs/stats",
        summary="The queue: depth by priority and tenant, waits, and jobs done per minute.",
        tag="queue",
        needs=Credentials.ADMINISTRATOR,
        answers={HTTPStatus.OK: jobs.QueueStatsAnswer},
    ),
    _of_documents(
        name="openapi_document",
        method=HTTPMethod.GET,
        path="/api/v1/openapi.json",
        summary="This document.",
        answers={HTTPStatus.OK: dict},
    ),
    _of_documents(
        name="documentation",
        method=HTTPMethod.GET,
        path="/api/docs",
        summary="This document, to be read by people.",
        answers={HTTPStatus.OK: None},
        media_type="text/html",
    ),
)
