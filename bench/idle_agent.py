"""All requests that a real agent makes while it has nothing to do, against polling every three seconds."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from sitting import Site

from platform_stack.processes import free_port

POLLING_EVERY_SECONDS = 3.0
# What an agent asks when it has just come is not counted.
SETTLED_AFTER_SECONDS = 5.0


class Counter:
    """Stands before the gateway and counts request lines."""

    def __init__(self) -> None:
        self.requests = 0

    @asynccontextmanager
    async def before(self, address: str) -> AsyncIterator[str]:
        """Its own address."""
        parts = urlsplit(address)

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection(parts.hostname, parts.port)
            # Either side may break off.
            await asyncio.gather(self._forth(reader, back), _back(there, writer), return_exceptions=True)

        port = free_port()
        server = await asyncio.start_server(carry, "127.0.0.1", port)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.close()
            await server.wait_closed()

    async def _forth(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.requests += data.count(b" HTTP/1.1\r\n")
            writer.write(data)
        writer.close()


async def idle_agent(site: Site) -> None:
    counter = Counter()
    async with counter.before(site.stack.gateway) as address:
        token = await asyncio.to_thread(site.stack.bootstrap_token)
        agent = site.stack.start_agent(
            "idle", token=token, scanners=site.stack.plan.scanners, settings={"EXPLOOP_API_URL": address}
        )
        while not counter.requests:
            await asyncio.sleep(0.1)
        await asyncio.sleep(SETTLED_AFTER_SECONDS)
        before, start = counter.requests, time.perf_counter()
        await asyncio.sleep(site.length(300.0, 5.0))
        hours = (time.perf_counter() - start) / 3600
        await asyncio.to_thread(agent.stop)
    each = (counter.requests - before) / hours
    polling = 3600 / POLLING_EVERY_SECONDS
    site.note({"idle_requests_per_hour": each, "polling_requests_per_hour": polling})
    site.note({"requests_saved": 1 - each / polling})


async def _back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()
