"""Look-ups that are trusted for a moment: what many requests ask in a second is asked once."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_MOST: Final = 10_000


class Remembered(Generic[Key, Value]):
    """``find`` looks a key up; its answer is trusted for ``seconds``. What it raises is not remembered.

    After half of that time whoever asks is answered from memory and has it looked up again beside it: nobody waits for
    the look-up of a key that is in use. Those that ask together wait for one look-up.
    """

    def __init__(self, find: Callable[[Key], Awaitable[Value]], *, seconds: float) -> None:
        self._find = find
        self._seconds = seconds
        self._known: dict[Key, tuple[float, Value]] = {}
        self._running: dict[Key, asyncio.Task[Value]] = {}

    async def get(self, key: Key) -> Value:
        """Raises what the look-up raises."""
        if (known := self._known.get(key)) is not None:
            until, value = known
            left = until - time.monotonic()
            if 0 < left < self._seconds / 2:
                self._look_up(key)
            if left > 0:
                return value
        return await asyncio.shield(self._look_up(key))

    def _look_up(self, key: Key) -> asyncio.Task[Value]:
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = asyncio.create_task(self._remember(key))
            running.add_done_callback(lambda done: self._done(key, done))
        return running

    async def _remember(self, key: Key) -> Value:
        until = time.monotonic() + self._seconds
        value = await self._find(key)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = (until, value)
        return value

    def _done(self, key: Key, done: asyncio.Task[Value]) -> None:
        del self._running[key]
        if not done.cancelled():
            # Whoever waits for it hears of the error; where nobody does, the next one asks again.
            done.exception()
