"""PgQueuer: enqueued one by one from a pool, worked off with LISTEN/NOTIFY, as its documentation shows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from peer_work import Enqueue, Work, main
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries

_CONNECTIONS = 16
# Its default of 10 is for jobs that take long.
_BATCH = 64


@asynccontextmanager
async def pgqueuer(dsn: str, work: Work, _: int) -> AsyncIterator[Enqueue]:
    async with (
        asyncpg.create_pool(dsn, min_size=_CONNECTIONS, max_size=_CONNECTIONS) as enqueuing,
        asyncpg.create_pool(dsn, min_size=4, max_size=_CONNECTIONS) as working,
    ):
        queries = Queries.from_asyncpg_pool(enqueuing)
        await queries.install()
        queue = PgQueuer.from_asyncpg_pool(working)

        async def handler(job: Job) -> None:
            work.started(int(job.payload or b""))

        queue.entrypoint("bench")(handler)
        worker = asyncio.create_task(queue.run(batch_size=_BATCH))
        await asyncio.sleep(1)

        async def enqueue(number: int) -> None:
            await queries.enqueue("bench", str(number).encode())

        yield enqueue
        queue.shutdown.set()
        await worker


if __name__ == "__main__":
    main(pgqueuer)
