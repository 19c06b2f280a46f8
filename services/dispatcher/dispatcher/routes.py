"""The agents' routes. A handler decodes, calls, encodes; its agent is authenticated first."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import TypedDict

import msgspec
from starlette.requests import Request as AnyRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dispatcher.broker import Broker
from dispatcher.events import Control
from dispatcher.idle import Poll
from dispatcher.polls import Polls
from dispatcher.put_backs import PutBacks
from dispatcher.reports import Reports
from platform_core.domain import tokens
from platform_core.domain.errors import TokenInvalid
from platform_core.domain.ids import AgentId, JobId
from platform_core.domain.jobs import MAX_RESULT_BYTES, JobStatus, JobType
from platform_core.wire import protocol
from platform_server.assembly.announcer import Announcer
from platform_server.kit import metrics
from platform_server.kit.agent_auth import AgentKeys
from platform_server.kit.bodies import answer, read
from platform_server.store.agents import Identity
from platform_server.store.attempts import Held, Outcome, ProgressNote, Report
from platform_server.store.claims import HandedOut


class State(TypedDict):
    """What the lifespan opens. The first of ``token_keys`` signs job tokens."""

    agents: AgentKeys[Identity]
    broker: Broker
    polls: Polls
    put_backs: PutBacks
    reports: Reports
    control: Control
    announcer: Announcer
    token_keys: Mapping[str, bytes]
    draining: asyncio.Event


Request = AnyRequest[State]


async def poll(request: Request) -> Response:
    identity = await _identity(request)
    asked = await read(request, protocol.Poll)
    held = await request.state["polls"].offer(identity, asked)
    client = asyncio.create_task(_end_when_client_leaves(request, held))
    try:
        jobs = await request.state["broker"].wait(held, seconds=asked.timeout)
    finally:
        client.cancel()
    if client.done():
        request.state["put_backs"].add(jobs)
        return Response(status_code=499)
    request.state["announcer"].assigned(jobs)
    headers = {"Connection": "close"} if request.state["draining"].is_set() else None
    return answer(_poll_answer(jobs, request.state["token_keys"]), headers=headers)


async def ack(request: Request) -> Response:
    return _job_answer(await request.state["reports"].ack(await _held(request)))


async def progress(request: Request) -> Response:
    held = await _held(request)
    body = await read(request, protocol.Progress)
    report = await request.state["reports"].progress(ProgressNote(held, body.progress, _storable(body.message)))
    return answer(protocol.ProgressAnswer(status=report.status, cancelled=report.status is JobStatus.CANCELLED))


async def result(request: Request) -> Response:
    held = await _held(request)
    body = await read(request, protocol.JobResult, limit=MAX_RESULT_BYTES)
    text = bytes(body.result).decode()
    outcome = Outcome(held, JobStatus(body.status), None if text == "null" else text, _storable(body.error))
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


async def _identity(request: Request) -> Identity:
    return await request.state["agents"].authenticate(request.headers.get("x-api-key"), request.scope["client_address"])


async def _agent(request: Request) -> AgentId:
    return (await _identity(request)).agent


async def _held(request: Request) -> Held:
    """Who writes about which job. Raises what authentication raises, and TokenInvalid for a missing or forged token."""
    agent = await _agent(request)
    raw = request.headers.get("x-job-token")
    if raw is None:
        raise TokenInvalid("job_token_missing")
    job = JobId(request.path_params["id"])
    attempt = tokens.read_job_token(raw, job, request.state["token_keys"])
    return Held(job, agent, attempt, tokens.secret_hash(raw))


async def _end_when_client_leaves(request: Request, held: Poll) -> None:
    """After the body the only thing that can come from a client is its leaving."""
    await request.receive()
    held.settle(())


def _storable(text: str | None) -> str | None:
    """Postgres takes no NUL, and what a scanner printed may have one."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}") if text is not None else None


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
