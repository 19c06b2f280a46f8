"""Background tasks: a step does one bounded batch, the loop has the patience."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

from platform_server.kit import logs

log = logs.logger(__name__)

# A loop that has not come round for so many of its intervals (and no less than a minute) is stalled.
_STALLED_AFTER = 3
_LEAST = timedelta(minutes=1)


@dataclass(slots=True)
class Loop:
    """``step`` does one bounded batch and returns how many; not zero means again at once, as does setting ``wake``."""

    name: str
    step: Callable[[], Awaitable[int]]
    every: timedelta
    # The interval varies by so much of itself, so that replicas do not work in step.
    jitter: float = 0.0
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    _beat: float = field(default_factory=time.monotonic)

    @property
    def stalled(self) -> bool:
        allowed = max(self.every * _STALLED_AFTER, _LEAST)
        return time.monotonic() - self._beat > allowed.total_seconds()

    async def run(self) -> None:
        """For ever. A step that fails is logged, and tried again after the interval."""
        while True:
            self._beat = time.monotonic()
            try:
                busy = await self.step() > 0
            except Exception:
                log.exception("loop_step_failed", loop=self.name)
                busy = False
            await (asyncio.sleep(0) if busy else self._rest())

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause()):
                await self.wake.wait()
        self.wake.clear()

    def _pause(self) -> float:
        return self.every.total_seconds() * (1 + random.uniform(-self.jitter, self.jitter))  # noqa: S311


@asynccontextmanager
async def running(loops: Sequence[Loop]) -> AsyncIterator[None]:
    """Run the loops beside the body; end them with it."""
    tasks = [asyncio.create_task(loop.run(), name=loop.name) for loop in loops]
    try:
        yield
    finally:
        await _end(tasks)


@asynccontextmanager
async def beside(work: Coroutine[None, None, None], name: str) -> AsyncIterator[None]:
    """Run this beside the body; end it with it."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        await _end([task])


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel them until they end: once may not do.

    Before Python 3.12 asyncio.wait_for, by which Redis' client sends, loses a cancellation that comes with its result.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=1)
    await asyncio.gather(*tasks, return_exceptions=True)
