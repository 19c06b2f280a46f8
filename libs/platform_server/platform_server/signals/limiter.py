"""The auth-failure limiter: 5 failures in 15 minutes ban an address for 15 (specification, "Rate Limiting").

Shared by all replicas: one Lua script, Redis' clock, one hash slot an address. A try is reserved on entry and given
back on success, so that parallel tries cannot pass together. While Redis is away the same rule runs in this process.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from importlib.resources import files
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from redis.asyncio import Redis

from platform_core.domain.errors import Banned
from platform_server.signals.connection import TROUBLE
from platform_server.signals.local_limiter import LocalLimiter

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# How long a try waits for the outcome of those in flight before it, and how often it asks.
_PATIENCE: Final = timedelta(seconds=3)
_ASK_AGAIN: Final = timedelta(milliseconds=10)
# Longer than a try of Redis takes to fail.
_LEFT_ALONE: Final = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class LimiterSettings:
    """Names and defaults of the specification's table; old counters are dropped every ``cleanup_interval``."""

    max_failures: int = 5
    ban_duration: timedelta = timedelta(minutes=15)
    window_duration: timedelta = timedelta(minutes=15)
    cleanup_interval: timedelta = timedelta(minutes=5)
    # Networks that are known to be many agents behind one address get a higher limit.
    allow_listed: tuple[Network, ...] = ()
    allow_listed_factor: int = 10

    def limit(self, network: Network) -> int:
        listed = any(network.network_address in known for known in self.allow_listed)
        return self.max_failures * (self.allow_listed_factor if listed else 1)


class Step(StrEnum):
    RESERVE = "reserve"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    RELEASED = "released"


def counted(address: Address) -> Network:
    """What an address counts as: itself, or its /64 in IPv6."""
    return ip_network((address, 64 if address.version == 6 else 32), strict=False)


class Limiter:
    """``on_ban`` hears of each new ban, to write it to Postgres; ``on_redis`` whether Redis was there (1 or 0)."""

    def __init__(
        self,
        client: Redis,
        settings: LimiterSettings,
        *,
        on_ban: Callable[[Network, timedelta], Awaitable[None]] | None = None,
        on_redis: Callable[[float], None] = lambda _up: None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._script = client.register_script(files(__package__).joinpath("limiter.lua").read_text(encoding="utf-8"))
        self._local = LocalLimiter(window=settings.window_duration, ban=settings.ban_duration)
        self._on_ban = on_ban
        self._on_redis = on_redis
        self._away = False
        self._next_try = -math.inf

    async def reserve(self, address: Address, *, prefix: str) -> None:
        """Take a try. Raises Banned, unless this credential was verified from there in the last window."""
        deadline = time.monotonic() + _PATIENCE.total_seconds()
        while (seconds := await self._step(Step.RESERVE, address, prefix)) < 0:
            if time.monotonic() > deadline:
                raise Banned(retry_after=timedelta(seconds=1))
            await asyncio.sleep(_ASK_AGAIN.total_seconds())
        if seconds > 0:
            raise Banned(retry_after=timedelta(seconds=seconds))

    async def succeeded(self, address: Address, *, prefix: str) -> None:
        """Give the try back, and clear the failures of this credential's prefix only."""
        await self._step(Step.SUCCEEDED, address, prefix)

    async def failed(self, address: Address, *, prefix: str) -> None:
        """The reserved try was a failure; the one that reaches the limit sets the ban."""
        if await self._step(Step.FAILED, address, prefix) > 0 and self._on_ban is not None:
            await self._on_ban(counted(address), self._settings.ban_duration)

    async def released(self, address: Address, *, prefix: str) -> None:
        """Give the try back: it ended without a word about the credential, for a store was away."""
        await self._step(Step.RELEASED, address, prefix)

    async def lift(self, address: Address) -> None:
        """End a ban and forget the failures."""
        network = counted(address)
        self._local.lift(network)
        try:
            await self._client.delete(*_keys(network))
        except TROUBLE:
            self._on_redis(0)

    async def restore(self, bans: Sequence[tuple[Network, timedelta]]) -> None:
        """Put back bans that Postgres remembers and Redis may have lost, each for what is left of it."""
        for network, left in bans:
            self._local.restore(network, left=left)
        try:
            for network, left in bans:
                await self._client.set(_keys(network)[2], "1", px=max(1, int(left.total_seconds() * 1000)), nx=True)
        except TROUBLE:
            self._on_redis(0)

    def cleanup(self) -> None:
        """Drop counters that are over; Redis drops its own by expiry."""
        self._local.cleanup()

    async def _step(self, step: Step, address: Address, prefix: str) -> float:
        """Seconds of a ban, 0 to go on, less than 0 to ask again."""
        network = counted(address)
        limit = self._settings.limit(network)
        durations = (self._settings.window_duration, self._settings.ban_duration)
        milliseconds = [int(duration.total_seconds() * 1000) for duration in durations]
        if self._left_alone():
            return self._locally(step, network, prefix, limit)
        try:
            told = await self._script(keys=_keys(network), args=[step.value, prefix, limit, *milliseconds])
        except TROUBLE:
            self._away = True
            self._next_try = time.monotonic() + _LEFT_ALONE.total_seconds()
            self._on_redis(0)
            return self._locally(step, network, prefix, limit)
        self._away = False
        self._on_redis(1)
        return int(told) / 1000

    def _left_alone(self) -> bool:
        """While Redis is away a step now and then tries it: one that stalls does not hold up every request."""
        if not self._away:
            return False
        now = time.monotonic()
        if now < self._next_try:
            return True
        self._next_try = now + _LEFT_ALONE.total_seconds()
        return False

    def _locally(self, step: Step, network: Network, prefix: str, limit: int) -> float:
        match step:
            case Step.RESERVE:
                return self._local.reserve(network, prefix=prefix, limit=limit)
            case Step.SUCCEEDED:
                return self._local.succeeded(network, prefix=prefix)
            case Step.FAILED:
                return self._local.failed(network, prefix=prefix, limit=limit)
            case Step.RELEASED:
                return self._local.released(network, prefix=prefix)


def _keys(network: Network) -> list[str]:
    slot = "{" + str(network.network_address) + "}"
    return [f"auth:{slot}:{name}" for name in ("failures", "pending", "ban", "verified", "serial")]
