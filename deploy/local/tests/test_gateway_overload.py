"""A real Envoy before a job-intake that does not answer: some are let in, some wait, the rest is refused at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from platform_ops.gateway import SERVICES, Endpoint, render
from platform_stack.engines import Envoy
from platform_stack.processes import free_port
from platform_stack.stack import ENVOY_TEMPLATE

AT_ONCE, WAITING, TOO_MANY = 4, 512, 40


class Silent:
    """Takes requests; answers when it is let."""

    def __init__(self) -> None:
        self.connections = 0
        self.may_answer = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while await reader.readline():
            while (await reader.readline()).strip():
                pass
            await self.may_answer.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        writer.close()


@asynccontextmanager
async def gateway(folder: Path, intake: Silent) -> AsyncIterator[str]:
    port, behind, nobody = free_port(), free_port(), free_port()
    endpoints = {name: [Endpoint("127.0.0.1", behind if name == "job_intake" else nobody)] for name in SERVICES}
    listen, config = Endpoint("127.0.0.1", port), folder / "envoy.yaml"
    config.write_text(render(ENVOY_TEMPLATE, endpoints, listen=listen, admin_port=free_port(), intake_at_once=AT_ONCE))
    envoy = Envoy(config, port, log=folder / "envoy.log")
    async with await asyncio.start_server(intake.serve, "127.0.0.1", behind):
        await asyncio.to_thread(envoy.start)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            await asyncio.to_thread(envoy.stop)


async def test_beyond_those_that_wait_a_request_is_refused_at_once_and_told_when_to_come_back(tmp_path: Path) -> None:
    intake, limits = Silent(), httpx.Limits(max_connections=None)
    async with gateway(tmp_path, intake) as address, httpx.AsyncClient(base_url=address, limits=limits) as http:
        asked = [
            asyncio.create_task(http.get("/api/v1/platform-jobs", timeout=14))
            for _ in range(AT_ONCE + WAITING + TOO_MANY)
        ]
        async with asyncio.timeout(10):
            while sum(one.done() for one in asked) < TOO_MANY:  # noqa: ASYNC110 - it happens in another process
                await asyncio.sleep(0.02)
        refused = [one.result() for one in asked if one.done()]
        assert {(one.status_code, one.headers["content-type"]) for one in refused} == {
            (503, "application/problem+json")
        }
        assert {one.json()["detail"] for one in refused} == {"More is waiting than can be answered in time."}
        assert set(Counter(one.headers["retry-after"] for one in refused)) == {"1", "3"}
        assert intake.connections == AT_ONCE
        intake.may_answer.set()
        answers = Counter([(await one).status_code for one in asked])
        assert answers == {200: AT_ONCE + WAITING, 503: TOO_MANY}
