"""A tenant's submit rate: 100 a second, 500 at once."""

import asyncio
import time
from datetime import timedelta
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from platform_core.domain.errors import RateLimited
from platform_core.domain.ids import TenantId
from platform_server.signals.rate import SubmitRate
from world import eventually

TENANT = TenantId(uuid4())


async def test_500_at_once_and_100_a_second(client: Redis) -> None:
    rate, start = SubmitRate(client), time.monotonic()
    takes = (rate.take(TENANT, rate=100, burst=500) for _ in range(800))
    answers = await asyncio.gather(*takes, return_exceptions=True)
    came_back = (time.monotonic() - start) * 100
    taken = sum(isinstance(answer, int) for answer in answers)
    assert 500 <= taken <= 501 + came_back
    waits = [answer.retry_after for answer in answers if isinstance(answer, RateLimited)]
    assert len(waits) == 800 - taken
    assert timedelta(0) < max(waits) <= timedelta(milliseconds=10)


async def test_the_answer_says_how_many_are_left(client: Redis) -> None:
    assert [await SubmitRate(client).take(TENANT, rate=1, burst=3) for _ in range(3)] == [2, 1, 0]


async def test_tokens_come_back_with_time(client: Redis) -> None:
    rate = SubmitRate(client)
    await rate.take(TENANT, rate=20, burst=1)

    async def one_is_there() -> bool:
        try:
            await rate.take(TENANT, rate=20, burst=1)
        except RateLimited:
            return False
        return True

    assert not await one_is_there()
    await eventually(one_is_there)


async def test_a_tenant_spends_its_own_tokens(client: Redis) -> None:
    rate = SubmitRate(client)
    await rate.take(TENANT, rate=1, burst=1)
    with pytest.raises(RateLimited):
        await rate.take(TENANT, rate=1, burst=1)
    assert await rate.take(TenantId(uuid4()), rate=1, burst=1) == 0


async def test_with_redis_away_nothing_is_held_back(away: Redis) -> None:
    assert [await SubmitRate(away).take(TENANT, rate=1, burst=1) for _ in range(3)] == [1, 1, 1]
