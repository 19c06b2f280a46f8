"""Agent health: signs of life."""

from http import HTTPMethod, HTTPStatus
from typing import Final

from platform_core.wire import protocol
from platform_core.wire.openapi import Credentials, Operation

AGENT_HEALTH: Final = (
    Operation(
        name="heartbeat",
        method=HTTPMethod.POST,
        path="/api/v1/platform-agent/heartbeat",
        summary="A sign of life; the answer says which jobs to stop.",
        tag="agent",
        needs=Credentials.AGENT,
        request=protocol.Heartbeat,
        answers={HTTPStatus.OK: protocol.HeartbeatAnswer},
    ),
)
