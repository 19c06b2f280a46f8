"""The auth-failure limiter: the same rule in Redis, and in this process while Redis is away."""

import asyncio
import socket
import time
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from redis.asyncio import Redis

from platform_core.domain.errors import Banned
from platform_server.signals.connection import connect
from platform_server.signals.limiter import Address, Limiter, LimiterSettings, Network, counted
from platform_server.signals.local_limiter import LocalLimiter
from world import eventually

HERE, THERE = ip_address("203.0.113.7"), ip_address("203.0.113.8")
MOMENT = timedelta(milliseconds=200)
FIFTEEN_MINUTES = timedelta(minutes=15)

Make = Callable[..., Limiter]


@pytest.fixture(params=["in Redis", "Redis away"])
async def make(request: pytest.FixtureRequest, client: Redis, away: Redis) -> Make:
    """A limiter with such settings."""

    def made(*, on_ban: Any = None, **changed: Any) -> Limiter:
        shared = client if request.param == "in Redis" else away
        return Limiter(shared, LimiterSettings(**changed), on_ban=on_ban)

    return made


async def fails(limiter: Limiter, address: Address = HERE, *, prefix: str = "bad") -> None:
    await limiter.reserve(address, prefix=prefix)
    await limiter.failed(address, prefix=prefix)


async def succeeds(limiter: Limiter, address: Address = HERE, *, prefix: str = "good") -> None:
    await limiter.reserve(address, prefix=prefix)
    await limiter.succeeded(address, prefix=prefix)


async def is_banned(limiter: Limiter, address: Address = HERE, *, prefix: str = "bad") -> bool:
    try:
        await succeeds(limiter, address, prefix=prefix)
    except Banned:
        return True
    return False


async def ban(limiter: Limiter, address: Address = HERE) -> None:
    for _ in range(5):
        await fails(limiter, address)


async def passes(moment: timedelta) -> None:
    start = time.monotonic()

    async def it_has() -> bool:
        return time.monotonic() - start > moment.total_seconds()

    await eventually(it_has)


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("max_failures", 5),
        ("ban_duration", FIFTEEN_MINUTES),
        ("window_duration", FIFTEEN_MINUTES),
        ("cleanup_interval", timedelta(minutes=5)),
        ("allow_listed", ()),
    ],
)
def test_the_settings_are_those_of_the_specification(name: str, default: object) -> None:
    assert {field.name: field.default for field in fields(LimiterSettings)}[name] == default


async def test_max_failures_before_ban_is_5(make: Make) -> None:
    limiter = make()
    for _ in range(4):
        await fails(limiter)
    assert not await is_banned(limiter, prefix="other")
    await fails(limiter)
    assert await is_banned(limiter)


async def test_ban_duration_is_15_minutes(make: Make) -> None:
    limiter = make()
    await ban(limiter)
    with pytest.raises(Banned) as banned:
        await limiter.reserve(HERE, prefix="bad")
    assert FIFTEEN_MINUTES - timedelta(seconds=5) < banned.value.retry_after <= FIFTEEN_MINUTES


async def test_a_ban_ends(make: Make) -> None:
    limiter = make(ban_duration=MOMENT)
    await ban(limiter)
    assert await is_banned(limiter)

    async def is_over() -> bool:
        return not await is_banned(limiter)

    await eventually(is_over)
    for _ in range(4):
        await fails(limiter)
    assert not await is_banned(limiter, prefix="other")


async def test_failures_older_than_the_window_do_not_count(make: Make) -> None:
    limiter = make(window_duration=MOMENT)
    for _ in range(4):
        await fails(limiter)
    await passes(MOMENT)
    for _ in range(4):
        await fails(limiter)
    assert not await is_banned(limiter, prefix="other")


async def test_of_100_parallel_failures_exactly_5_are_tried(make: Make) -> None:
    limiter = make()
    answers = await asyncio.gather(*(fails(limiter, prefix=str(n)) for n in range(100)), return_exceptions=True)
    assert [type(answer) for answer in answers if answer is not None] == [Banned] * 95


async def test_100_parallel_good_tries_all_pass(make: Make) -> None:
    limiter = make()
    await asyncio.gather(*(succeeds(limiter, prefix=str(n)) for n in range(100)))


async def test_a_verified_credential_passes_during_a_ban_and_no_other_does(make: Make) -> None:
    limiter = make()
    await succeeds(limiter, prefix="good")
    await ban(limiter)
    await succeeds(limiter, prefix="good")
    assert await is_banned(limiter, prefix="unseen")


async def test_a_credential_is_verified_where_it_was_seen_and_nowhere_else(make: Make) -> None:
    limiter = make()
    await succeeds(limiter, THERE, prefix="good")
    await ban(limiter, HERE)
    assert await is_banned(limiter, HERE, prefix="good")
    assert not await is_banned(limiter, THERE, prefix="good")


async def test_a_credential_is_verified_for_a_window(make: Make) -> None:
    limiter = make(window_duration=MOMENT)
    await succeeds(limiter, prefix="good")
    await passes(MOMENT)
    await ban(limiter)
    assert await is_banned(limiter, prefix="good")


async def test_a_success_clears_only_the_failures_of_its_own_prefix(make: Make) -> None:
    limiter = make()
    for _ in range(4):
        await fails(limiter, prefix="good")
    await succeeds(limiter, prefix="good")
    for _ in range(4):
        await fails(limiter, prefix="bad")
        await succeeds(limiter, prefix="good")
    assert not await is_banned(limiter, prefix="unseen")
    await fails(limiter, prefix="bad")
    assert await is_banned(limiter, prefix="unseen-2")


async def test_a_try_that_could_not_be_judged_is_given_back_and_proves_nothing(make: Make) -> None:
    limiter = make()
    for _ in range(10):
        await limiter.reserve(HERE, prefix="unjudged")
        await limiter.released(HERE, prefix="unjudged")
    await ban(limiter)
    assert await is_banned(limiter, prefix="unjudged")


async def test_ipv6_counts_by_64(make: Make) -> None:
    limiter = make()
    for n in range(5):
        await fails(limiter, ip_address(f"2001:db8:1:2::{n}"))
    assert await is_banned(limiter, ip_address("2001:db8:1:2:ffff::1"))
    assert not await is_banned(limiter, ip_address("2001:db8:1:3::1"))


async def test_ipv4_counts_by_address(make: Make) -> None:
    limiter = make()
    await ban(limiter, HERE)
    assert not await is_banned(limiter, THERE)


async def test_an_allow_listed_network_has_ten_times_the_limit(make: Make) -> None:
    limiter = make(allow_listed=(ip_network("203.0.113.0/29"), ip_network("2001:db8::/32")))
    for _ in range(49):
        await fails(limiter)
    assert not await is_banned(limiter, prefix="other")
    await fails(limiter)
    assert await is_banned(limiter)


async def test_a_new_ban_is_told_once_with_its_network(make: Make) -> None:
    told: list[tuple[Network, timedelta]] = []

    async def on_ban(network: Network, duration: timedelta) -> None:
        told.append((network, duration))

    address = ip_address("2001:db8:1:2::7")
    await ban(make(on_ban=on_ban), address)
    assert told == [(ip_network("2001:db8:1:2::/64"), FIFTEEN_MINUTES)]
    assert counted(HERE) == ip_network("203.0.113.7/32")


async def test_a_lifted_ban_leaves_no_failures(make: Make) -> None:
    limiter = make()
    await ban(limiter)
    await limiter.lift(HERE)
    for _ in range(4):
        await fails(limiter)
    assert not await is_banned(limiter, prefix="other")


async def test_a_ban_that_postgres_remembers_is_put_back_for_what_is_left(make: Make) -> None:
    limiter = make()
    await limiter.restore([(counted(HERE), timedelta(minutes=7))])
    with pytest.raises(Banned) as banned:
        await limiter.reserve(HERE, prefix="bad")
    assert timedelta(minutes=6, seconds=55) < banned.value.retry_after <= timedelta(minutes=7)


async def test_what_is_put_back_does_not_prolong_a_ban(make: Make) -> None:
    limiter = make(ban_duration=timedelta(minutes=1))
    await ban(limiter)
    await limiter.restore([(counted(HERE), timedelta(minutes=7))])
    with pytest.raises(Banned) as banned:
        await limiter.reserve(HERE, prefix="bad")
    assert banned.value.retry_after <= timedelta(minutes=1)


async def test_a_ban_holds_at_every_replica(client: Redis, redis: str) -> None:
    await ban(Limiter(client, LimiterSettings()))
    async with connect(redis) as other:
        assert await is_banned(Limiter(other, LimiterSettings()))


async def test_whether_redis_is_there_is_told(client: Redis, away: Redis) -> None:
    told: list[float] = []
    for shared in (client, away):
        await succeeds(Limiter(shared, LimiterSettings(), on_redis=told.append))
    assert told == [1, 1, 0]


async def test_a_redis_that_stalls_holds_up_one_try_and_not_each() -> None:
    """It takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as stalled:
        async with connect(f"redis://127.0.0.1:{stalled.getsockname()[1]}/0") as client:
            limiter = Limiter(client, LimiterSettings())
            async with asyncio.timeout(10):
                for n in range(20):
                    await succeeds(limiter, prefix=f"good {n}")


async def test_cleanup_forgets_addresses_of_which_nothing_is_left() -> None:
    local = LocalLimiter(window=MOMENT, ban=FIFTEEN_MINUTES)
    local.reserve("passed", prefix="good", limit=5)
    local.succeeded("passed", prefix="good")
    local.reserve("banned", prefix="bad", limit=1)
    local.failed("banned", prefix="bad", limit=1)
    await passes(MOMENT)
    local.cleanup()
    assert local.known() == {"banned"}
