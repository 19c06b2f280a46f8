"""The internal port: /metrics, /healthz (the event loop and its tasks only) and /readyz (Postgres only)."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from platform_server.kit import metrics
from platform_server.kit.loops import Loop

Check = Callable[[], Awaitable[bool]]


@dataclass(slots=True)
class Health:
    """What the probes look at; the service fills it in when its lifespan opens."""

    postgres: Check | None = None
    redis: Check | None = None
    loops: Sequence[Loop] = field(default_factory=list)
    draining: bool = False


def internal_app(health: Health) -> Starlette:
    async def tell(_: Request) -> Response:
        if health.redis is not None:
            metrics.REDIS_UP.set(await _holds(health.redis))
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def healthz(_: Request) -> Response:
        stalled = [loop.name for loop in health.loops if loop.stalled]
        return JSONResponse({"status": "stalled" if stalled else "ok", "stalled": stalled}, 503 if stalled else 200)

    async def readyz(_: Request) -> Response:
        ready = not health.draining and health.postgres is not None and await _holds(health.postgres)
        degraded = [] if health.redis is None or await _holds(health.redis) else ["redis"]
        return JSONResponse({"status": "ready" if ready else "not ready", "degraded": degraded}, 200 if ready else 503)

    return Starlette(routes=[Route("/metrics", tell), Route("/healthz", healthz), Route("/readyz", readyz)])


async def _holds(check: Check) -> bool:
    try:
        return await check()
    except Exception:
        return False
