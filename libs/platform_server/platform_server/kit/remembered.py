"""Look-ups that are trusted for a moment: what many requests ask in a second is asked once."""

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_MOST: Final = 10_000


class Remembered(Generic[Key, Value]):
    """``find`` looks a key up; its answer is trusted for ``seconds``. What it raises is not remembered."""

    def __init__(self, find: Callable[[Key], Awaitable[Value]], *, seconds: float) -> None:
        self._find = find
        self._seconds = seconds
        self._known: dict[Key, tuple[float, Value]] = {}

    async def get(self, key: Key) -> Value:
        """Raises what the look-up raises."""
        known = self._known.get(key)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        until = time.monotonic() + self._seconds
        value = await self._find(key)
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = (until, value)
        return value
