"""Procrastinate: deferred one by one, worked off with LISTEN/NOTIFY, as its documentation shows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from peer_work import Enqueue, Work, main
from procrastinate import App, PsycopgConnector

_CONNECTIONS = 32


@asynccontextmanager
async def procrastinate(dsn: str, work: Work, concurrency: int) -> AsyncIterator[Enqueue]:
    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=4, max_size=_CONNECTIONS))

    async def handler(number: int) -> None:
        work.started(number)

    task = app.task(name="bench")(handler)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        worker = asyncio.create_task(app.run_worker_async(concurrency=concurrency, install_signal_handlers=False))
        await asyncio.sleep(1)

        async def enqueue(number: int) -> None:
            await task.defer_async(number=number)

        yield enqueue
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker


if __name__ == "__main__":
    main(procrastinate)
