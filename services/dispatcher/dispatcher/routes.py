"""The agents' routes. A handler decodes, calls, encodes; its agent is authenticated first."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypedDict

import msgspec
from starlette.requests import Request as AnyRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dispatcher.broker import Broker
from dispatcher.events import Control
from dispatcher.polls import Polls
from dispatcher.reports import Reports
from platform_core.domain import tokens
from platform_core.domain.errors import TokenInvalid
from platform_core.domain.ids import AgentId, JobId
from platform_core.domain.jobs import MAX_RESULT_BYTES, JobStatus, JobType
from platform_core.wire import protocol
from platform_core.wire.events import JobEventKind
from platform_server.assembly.announcer import Announcer
from platform_server.kit import metrics
from platform_server.kit.agent_auth import AgentKeys
from platform_server.kit.bodies import answer, read
from platform_server.store.attempts import Held, Outcome, ProgressNote, Report
from platform_server.store.claims import HandedOut


class State(TypedDict):
    """What the lifespan opens. The first of ``token_keys`` signs job tokens."""

    agents: AgentKeys
    broker: Broker
    polls: Polls
    reports: Reports
    control: Control
    announcer: Announcer
    token_keys: Mapping[str, bytes]
    draining: asyncio.Event


Request = AnyRequest[State]


async def poll(request: Request) -> Response:
    agent = await _agent(request)
    asked = await read(request, protocol.Poll)
    offer = await request.state["polls"].offer(agent, asked)
    waiting = asyncio.ensure_future(request.state["broker"].wait(offer, seconds=asked.timeout))
    if await _client_left(request, waiting):
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await request.state["reports"].put_back(await waiting)
        return Response(status_code=499)
    jobs = waiting.result()
    await request.state["announcer"].attempted(JobEventKind.ASSIGNED, jobs)
    headers = {"Connection": "close"} if request.state["draining"].is_set() else None
    return answer(_poll_answer(jobs, request.state["token_keys"]), headers=headers)


async def ack(request: Request) -> Response:
    return _job_answer(await request.state["reports"].ack(await _held(request)))


async def progress(request: Request) -> Response:
    held = await _held(request)
    body = await read(request, protocol.Progress)
    report = await request.state["reports"].progress(ProgressNote(held, body.progress, body.message))
    return answer(protocol.ProgressAnswer(status=report.status, cancelled=report.status is JobStatus.CANCELLED))


async def result(request: Request) -> Response:
    held = await _held(request)
    body = await read(request, protocol.JobResult, limit=MAX_RESULT_BYTES)
    text = bytes(body.result).decode()
    outcome = Outcome(held, JobStatus(body.status), None if text == "null" else text, body.error)
    return _job_answer(await request.state["reports"].finish(outcome))


async def release(request: Request) -> Response:
    held = await _held(request)
    report = await request.state["reports"].release(held)
    return _job_answer(report)


async def events(request: Request) -> Response:
    agent = await _agent(request)
    stream = request.state["control"].stream(agent, request.state["draining"])
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


ROUTES: Sequence[Route] = [
    Route("/api/v1/platform-agent/poll", poll, methods=["POST"]),
    Route("/api/v1/platform-agent/events", events, methods=["GET"]),
    Route("/api/v1/platform-agent/jobs/{id:uuid}/ack", ack, methods=["POST"]),
    Route("/api/v1/platform-agent/jobs/{id:uuid}/progress", progress, methods=["POST"]),
    Route("/api/v1/platform-agent/jobs/{id:uuid}/result", result, methods=["POST"]),
    Route("/api/v1/platform-agent/jobs/{id:uuid}/release", release, methods=["POST"]),
]


async def _agent(request: Request) -> AgentId:
    identity = await request.state["agents"].authenticate(
        request.headers.get("x-api-key"), request.scope["client_address"]
    )
    return identity.agent


async def _held(request: Request) -> Held:
    """Who writes about which job. Raises what authentication raises, and TokenInvalid for a missing or forged token."""
    agent = await _agent(request)
    raw = request.headers.get("x-job-token")
    if raw is None:
        raise TokenInvalid("job_token_missing")
    job = JobId(request.path_params["id"])
    attempt = tokens.read_job_token(raw, job, request.state["token_keys"])
    return Held(job, agent, attempt, tokens.secret_hash(raw))


async def _client_left(request: Request, waiting: asyncio.Future[Sequence[HandedOut]]) -> bool:
    """Wait for the poll's end; true when the client went away before it."""
    gone = asyncio.ensure_future(request.receive())
    waiting.add_done_callback(lambda _: gone.cancel())
    try:
        await gone
    except asyncio.CancelledError:
        if not waiting.done():
            raise
        return False
    return not waiting.done()


def _poll_answer(jobs: Sequence[HandedOut], keys: Mapping[str, bytes]) -> protocol.PollAnswer:
    kid, key = next(iter(keys.items()))
    for handed_out in jobs:
        metrics.DELIVERY.observe(handed_out.waited.total_seconds())
    return protocol.PollAnswer(
        jobs=tuple(
            protocol.PolledJob(
                id=h.job,
                type=JobType(h.type),
                tenant_id=h.tenant,
                payload=msgspec.Raw(h.payload),
                auth_token=tokens.job_token(h.job, h.attempt, kid=kid, key=key),
                timeout=h.timeout_seconds,
                attempt=h.attempt,
                traceparent=h.traceparent,
            )
            for h in jobs
        )
    )


def _job_answer(report: Report) -> Response:
    return answer(
        protocol.AgentJobAnswer(
            job=protocol.AgentJob(
                id=report.job,
                tenant_id=report.tenant,
                type=report.type,
                status=report.status,
                attempt=report.attempt,
                progress=report.progress,
                timeout=report.timeout_seconds,
                assigned_at=report.assigned_at,
                started_at=report.started_at,
                completed_at=report.completed_at,
            )
        )
    )
