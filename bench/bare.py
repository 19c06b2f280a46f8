"""The HTTP floor: a bare Starlette route behind nothing, served as the services are, that answers or holds at once."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from platform_stack.processes import Process, accepts, free_port

# As long as an answer of ours.
_ANSWER = b'{"job":"' + b"x" * 500 + b'"}'
_NEVER = asyncio.Event()


async def answer(request: Request) -> Response:
    await request.body()
    return Response(_ANSWER, media_type="application/json")


async def hold(request: Request) -> Response:
    await request.body()
    await _NEVER.wait()
    return Response(_ANSWER, media_type="application/json")


APP = Starlette(routes=[Route("/answer", answer, methods=["POST"]), Route("/hold", hold, methods=["POST"])])


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[str, int]]:
    """Its address and its process."""
    port = free_port()
    process = Process("bare", [sys.executable, __file__, str(port)], log=folder / "bare.log")
    process.start()
    try:
        process.wait_until(lambda: accepts(port))
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.kill()


def main() -> None:
    config = uvicorn.Config(
        APP, port=int(sys.argv[1]), http="httptools", loop="none", lifespan="off", access_log=False, log_config=None,
        server_header=False, date_header=False, timeout_keep_alive=120, backlog=4096,
    )  # fmt: skip
    uvloop.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main()
