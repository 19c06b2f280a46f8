"""A tenant's submit rate: 100 a second, 500 at once."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from platform_core.domain.errors import RateLimited
from platform_core.domain.ids import TenantId
from platform_server.kit.batching import Batch
from platform_server.signals.rate import SubmitRate, Take
from world import eventually

TENANT, ANOTHER = TenantId(uuid4()), TenantId(uuid4())


def served(answers: Sequence[int | BaseException]) -> list[int]:
    return [answer for answer in answers if isinstance(answer, int)]


async def test_500_at_once_and_100_a_second(client: Redis) -> None:
    rate, start = Batch(SubmitRate(client).take), time.monotonic()
    takes = (rate.add(Take(TENANT, rate=100, burst=500)) for _ in range(800))
    answers = await asyncio.gather(*takes, return_exceptions=True)
    came_back = (time.monotonic() - start) * 100
    taken = len(served(answers))
    assert 500 <= taken <= 501 + came_back
    waits = [answer.retry_after for answer in answers if isinstance(answer, RateLimited)]
    assert len(waits) == 800 - taken
    assert timedelta(0) < max(waits) <= timedelta(milliseconds=10)


async def test_two_replicas_share_a_bucket(client: Redis) -> None:
    replicas = [SubmitRate(client), SubmitRate(client)]
    answers = await asyncio.gather(*(replica.take([Take(TENANT, rate=1, burst=50)] * 40) for replica in replicas))
    assert sorted(served([*answers[0], *answers[1]])) == list(range(50))


async def test_who_came_first_is_served_first_and_learns_how_many_were_left(client: Redis) -> None:
    answers = await SubmitRate(client).take([Take(TENANT, rate=1, burst=3)] * 5)
    assert answers[:3] == [2, 1, 0]
    assert all(isinstance(answer, RateLimited) for answer in answers[3:])


async def test_tenants_that_come_together_spend_their_own_tokens(client: Redis) -> None:
    rate = SubmitRate(client)
    one, other = Take(TENANT, rate=1, burst=1), Take(ANOTHER, rate=1, burst=2)
    first, second, third, fourth = await rate.take([one, other, one, other])
    assert (first, second, fourth) == (0, 1, 0)
    assert isinstance(third, RateLimited)


async def test_tokens_come_back_with_time(client: Redis) -> None:
    rate = SubmitRate(client)

    async def one_is_there() -> bool:
        (answer,) = await rate.take([Take(TENANT, rate=20, burst=1)])
        return answer == 0

    assert await one_is_there()
    assert not await one_is_there()
    await eventually(one_is_there)


async def test_a_redis_that_forgot_the_script_is_told_again(client: Redis) -> None:
    rate = SubmitRate(client)
    await rate.take([Take(TENANT, rate=1, burst=2)])
    await client.script_flush()
    both = await rate.take([Take(TENANT, rate=1, burst=2), Take(ANOTHER, rate=1, burst=2)])
    assert both == [0, 1]


async def test_what_redis_cannot_tell_of_one_tenant_holds_no_other_up(client: Redis) -> None:
    await client.set(f"submit:{{{TENANT}}}", "not a bucket")
    both = await SubmitRate(client).take([Take(TENANT, rate=1, burst=9), Take(ANOTHER, rate=1, burst=9)])
    assert both == [9, 8]


async def test_with_redis_away_nothing_is_held_back(away: Redis) -> None:
    assert await SubmitRate(away).take([Take(TENANT, rate=1, burst=1)] * 3) == [1, 1, 1]


async def test_a_redis_in_trouble_is_asked_once_a_second(away: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    rate, asked = SubmitRate(away), 0
    pipeline = away.pipeline

    def counted(*, transaction: bool) -> object:
        nonlocal asked
        asked += 1
        return pipeline(transaction=transaction)

    monkeypatch.setattr(away, "pipeline", counted)
    for _ in range(20):
        await rate.take([Take(TENANT, rate=1, burst=1)])
    assert asked == 1
