"""Dispatcher: the way of a job through an agent's hands."""

from http import HTTPMethod, HTTPStatus
from typing import Final

from platform_core.wire import protocol
from platform_core.wire.openapi import Credentials, Operation

_JOB: Final = "/api/v1/platform-agent/jobs/{id}"
_NO_LONGER_HELD: Final = frozenset({HTTPStatus.CONFLICT})

DISPATCHER: Final = (
    Operation(
        name="poll",
        method=HTTPMethod.POST,
        path="/api/v1/platform-agent/poll",
        summary="Wait for jobs, for up to `timeout` seconds.",
        tag="agent",
        needs=Credentials.AGENT,
        request=protocol.Poll,
        answers={HTTPStatus.OK: protocol.PollAnswer},
    ),
    Operation(
        name="agent_events",
        method=HTTPMethod.GET,
        path="/api/v1/platform-agent/events",
        summary="Server-sent events for an agent that holds a job: cancelled, lost, drain.",
        tag="agent",
        needs=Credentials.AGENT,
        answers={HTTPStatus.OK: None},
        media_type="text/event-stream",
    ),
    Operation(
        name="acknowledge_job",
        method=HTTPMethod.POST,
        path=f"{_JOB}/ack",
        summary="Acknowledge a job: its time runs from here. Repeating it is answered as the first time.",
        tag="agent",
        needs=Credentials.AGENT_AND_JOB,
        answers={HTTPStatus.OK: protocol.AgentJobAnswer},
        refusals=_NO_LONGER_HELD,
    ),
    Operation(
        name="report_progress",
        method=HTTPMethod.POST,
        path=f"{_JOB}/progress",
        summary="Report progress, which keeps agent and job alive.",
        tag="agent",
        needs=Credentials.AGENT_AND_JOB,
        request=protocol.Progress,
        answers={HTTPStatus.OK: protocol.ProgressAnswer},
        refusals=_NO_LONGER_HELD,
    ),
    Operation(
        name="submit_result",
        method=HTTPMethod.POST,
        path=f"{_JOB}/result",
        summary="End a job, of at most 10 MB. Repeating the same result is answered as the first time.",
        tag="agent",
        needs=Credentials.AGENT_AND_JOB,
        request=protocol.JobResult,
        answers={HTTPStatus.OK: protocol.AgentJobAnswer},
        refusals=_NO_LONGER_HELD,
    ),
    Operation(
        name="release_job",
        method=HTTPMethod.POST,
        path=f"{_JOB}/release",
        summary="Hand a job back unfinished: it is queued again and no retry is spent.",
        tag="agent",
        needs=Credentials.AGENT_AND_JOB,
        answers={HTTPStatus.OK: protocol.AgentJobAnswer},
        refusals=_NO_LONGER_HELD,
    ),
)
