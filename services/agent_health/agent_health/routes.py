"""The heartbeat."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TypedDict

from starlette.requests import Request as AnyRequest
from starlette.responses import Response
from starlette.routing import Route

from agent_health.heartbeats import Heartbeats
from platform_core.domain.agents import status_of
from platform_core.wire import protocol
from platform_server.kit.agent_auth import AgentKeys
from platform_server.kit.bodies import answer, read
from platform_server.store.agents import Identity


class State(TypedDict):
    """What the lifespan opens."""

    agents: AgentKeys[Identity]
    heartbeats: Heartbeats
    next_heartbeat: timedelta


Request = AnyRequest[State]


async def heartbeat(request: Request) -> Response:
    identity = await request.state["agents"].authenticate(
        request.headers.get("x-api-key"), request.scope["client_address"]
    )
    body = await read(request, protocol.Heartbeat)
    told = await request.state["heartbeats"].beat(identity.agent, body)
    return answer(
        protocol.HeartbeatAnswer(
            status=status_of(identity.admin_state, online=True),
            server_time=told.at,
            next_heartbeat_seconds=round(request.state["next_heartbeat"].total_seconds()),
            cancelled_jobs=tuple(told.cancelled),
            lost_jobs=tuple(told.lost),
        )
    )


ROUTES: Sequence[Route] = [Route("/api/v1/platform-agent/heartbeat", heartbeat, methods=["POST"])]
