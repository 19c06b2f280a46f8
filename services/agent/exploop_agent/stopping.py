"""Being told to stop: once, by a signal, heard by whatever waits."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """We were told to stop, and the work was given up."""


class Stopping:
    """``tell`` is what a signal calls."""

    def __init__(self) -> None:
        self._told = asyncio.Event()

    def tell(self) -> None:
        self._told.set()

    async def interrupts(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result, if it comes before we are told to stop. Raises Stopped."""
        if self._told.is_set():
            work.close()
            raise Stopped
        working, telling = asyncio.ensure_future(work), asyncio.ensure_future(self._told.wait())
        both: list[asyncio.Future[Any]] = [working, telling]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            raise Stopped
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def rest(self, seconds: float) -> None:
        """Sleep, unless we are told to stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._told.wait()
