"""The limiter's rule in one process, for as long as Redis is away. Times are this process' monotonic seconds."""

import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf

_IN_FLIGHT_SECONDS = 10.0

Tries = list[tuple[float, str]]


@dataclass(slots=True)
class _Standing:
    failures: Tries = field(default_factory=list)
    pending: Tries = field(default_factory=list)
    banned_until: float = -inf
    verified: dict[str, float] = field(default_factory=dict)


class LocalLimiter:
    """Answers as the script does: seconds of a ban, 0 to go on, -1 to ask again."""

    def __init__(self, *, window: timedelta, ban: timedelta) -> None:
        self._window = window.total_seconds()
        self._ban = ban.total_seconds()
        self._standings: dict[Hashable, _Standing] = {}

    def reserve(self, network: Hashable, *, prefix: str, limit: int) -> float:
        standing, now = self._at(network)
        trusted = standing.verified.get(prefix, -inf) > now
        if not trusted and standing.banned_until > now:
            return standing.banned_until - now
        if not trusted and len(standing.failures) + len(standing.pending) >= limit:
            return -1.0
        standing.pending.append((now, prefix))
        return 0.0

    def succeeded(self, network: Hashable, *, prefix: str) -> float:
        standing, now = self._at(network)
        _remove_one(standing.pending, prefix)
        standing.failures = [(at, of) for at, of in standing.failures if of != prefix]
        standing.verified[prefix] = now + self._window
        return 0.0

    def failed(self, network: Hashable, *, prefix: str, limit: int) -> float:
        standing, now = self._at(network)
        _remove_one(standing.pending, prefix)
        standing.failures.append((now, prefix))
        if len(standing.failures) < limit:
            return 0.0
        standing.failures.clear()
        standing.banned_until = now + self._ban
        return self._ban

    def released(self, network: Hashable, *, prefix: str) -> float:
        standing, _ = self._at(network)
        _remove_one(standing.pending, prefix)
        return 0.0

    def restore(self, network: Hashable, *, left: timedelta) -> None:
        """Ban it for what is left, unless it is banned."""
        standing, now = self._at(network)
        if standing.banned_until <= now:
            standing.banned_until = now + left.total_seconds()

    def lift(self, network: Hashable) -> None:
        self._standings.pop(network, None)

    def cleanup(self) -> None:
        """Forget addresses of which nothing is left."""
        for network in list(self._standings):
            standing, now = self._at(network)
            if not (standing.failures or standing.pending or standing.verified or standing.banned_until > now):
                del self._standings[network]

    def known(self) -> set[Hashable]:
        """The addresses that it remembers."""
        return set(self._standings)

    def _at(self, network: Hashable) -> tuple[_Standing, float]:
        now = time.monotonic()
        standing = self._standings.setdefault(network, _Standing())
        standing.failures = [(at, of) for at, of in standing.failures if at > now - self._window]
        standing.pending = [(at, of) for at, of in standing.pending if at > now - _IN_FLIGHT_SECONDS]
        standing.verified = {of: until for of, until in standing.verified.items() if until > now}
        return standing, now


def _remove_one(tries: Tries, prefix: str) -> None:
    for n, (_, of) in enumerate(tries):
        if of == prefix:
            del tries[n]
            return
