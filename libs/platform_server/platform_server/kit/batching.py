"""Group commit: concurrent items become one flush, without a timer.

A flush starts at once when none is in flight; while one is, the next batch gathers. Each item gets its own result or
its own error, so a bad item never fails its neighbours.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

Flush = Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]]


class Batch(Generic[Item, Result]):
    """``await batch.add(item)`` gives its result. ``flush`` answers a result or an exception an item, in order."""

    def __init__(self, flush: Flush[Item, Result], *, max_size: int = 256) -> None:
        self._flush = flush
        self._max_size = max_size
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._running: asyncio.Task[None] | None = None

    async def add(self, item: Item) -> Result:
        """Raises what the flush answered for this item; an exception of the whole flush goes to all of its items."""
        return await self.put(item)

    def put(self, item: Item) -> asyncio.Future[Result]:
        """Add it, for whoever does not want to wait for the flush."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return future

    async def finish(self) -> None:
        """Until nothing is left to flush."""
        if self._running is not None:
            await self._running

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._max_size], self._waiting[self._max_size :]
                await self._settle(batch)
        finally:
            self._running = None

    async def _settle(self, batch: list[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._flush([item for item, _ in batch])
            if len(results) != len(batch):
                raise ValueError(f"the flush answered {len(results)} of {len(batch)} items")
        except Exception as error:
            results = [error] * len(batch)
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
