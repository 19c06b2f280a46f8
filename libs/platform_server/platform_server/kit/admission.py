"""Early refusal: what could not be answered in time is turned away before it costs anything."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from platform_core.domain.errors import Unavailable

# Who is turned away comes back after so long; not all at once.
_AT_LEAST: Final = timedelta(seconds=1)
_SPREAD: Final = timedelta(seconds=2)


class Admission:
    """A line that nobody may join while it is ``most`` long, or its head has stood in it for ``patience``."""

    def __init__(self, *, most: int, patience: timedelta) -> None:
        self._most = most
        self._patience = patience.total_seconds()
        # By number, in the order of coming.
        self._since: dict[int, float] = {}
        self._numbers = 0

    def check(self) -> None:
        """Raises Unavailable, with a time to come back at, when nobody may join."""
        if len(self._since) >= self._most or self._oldest() > self._patience:
            later = _AT_LEAST + random.random() * _SPREAD  # noqa: S311 - nothing is secret about it
            raise Unavailable("More is waiting than can be answered in time.", retry_after=later)

    @contextmanager
    def standing(self) -> Iterator[None]:
        """In the line, while the body runs. It checks nothing: who has come so far is served."""
        self._numbers += 1
        number = self._numbers
        self._since[number] = time.monotonic()
        try:
            yield
        finally:
            del self._since[number]

    def _oldest(self) -> float:
        """Seconds."""
        return time.monotonic() - next(iter(self._since.values())) if self._since else 0.0
