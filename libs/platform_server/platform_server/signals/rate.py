"""Tenants' submit rates: a token bucket each in Redis for all replicas. While Redis is away nothing is held back."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib.resources import files
from math import inf
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from platform_core.domain.errors import RateLimited
from platform_core.domain.ids import TenantId
from platform_server.signals.connection import TROUBLE

# As long as a try of it takes to fail: one submission waits so long for a Redis that stalls, and none twice.
_LEFT_ALONE: Final = timedelta(seconds=1)


class Take(NamedTuple):
    """One of the tenant's tokens; ``rate`` come back a second, up to ``burst``."""

    tenant: TenantId
    rate: int
    burst: int


class SubmitRate:
    def __init__(self, client: Redis) -> None:
        self._client = client
        self._script = client.register_script(files(__package__).joinpath("rate.lua").read_text(encoding="utf-8"))
        self._next_try = -inf

    async def take(self, takes: Sequence[Take]) -> list[int | Exception]:
        """In one round trip. Each learns how many tokens were left, or RateLimited; the earlier are served first."""
        told = await self._told(Counter(takes))
        served = Counter[Take]()
        answers: list[int | Exception] = []
        for take in takes:
            answers.append(_answer(take, served[take], told.get(take)))
            served[take] += 1
        return answers

    async def _told(self, asked: Mapping[Take, int]) -> Mapping[Take, "_Told"]:
        """What Redis tells of those that it answered."""
        if time.monotonic() < self._next_try:
            return {}
        try:
            told = await self._run(asked)
            if unknown := [take for take, answer in told.items() if isinstance(answer, NoScriptError)]:
                await self._client.script_load(self._script.script)
                told |= await self._run({take: asked[take] for take in unknown})
        except TROUBLE:
            self._next_try = time.monotonic() + _LEFT_ALONE.total_seconds()
            return {}
        return {take: _Told(*answer) for take, answer in told.items() if not isinstance(answer, Exception)}

    async def _run(self, asked: Mapping[Take, int]) -> dict[Take, Any]:
        async with self._client.pipeline(transaction=False) as pipe:
            for take, count in asked.items():
                pipe.evalsha(self._script.sha, 1, f"submit:{{{take.tenant}}}", take.rate, take.burst, count)
            return dict(zip(asked, await pipe.execute(raise_on_error=False), strict=True))


class _Told(NamedTuple):
    taken: int
    left: int
    wait_ms: int


def _answer(take: Take, before: int, told: _Told | None) -> int | RateLimited:
    """Of the take that so many others of the same bucket came before; what Redis did not answer is not held back."""
    if told is None:
        return take.burst
    if before < told.taken:
        return told.left + told.taken - 1 - before
    return RateLimited(retry_after=timedelta(milliseconds=told.wait_ms))
