"""The auth-failure limiter at the registration's door, and the bans it sets."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from httpx import AsyncClient, Response
from redis.asyncio import Redis

from platform_server.signals.connection import connect
from platform_server.signals.limiter import Limiter, LimiterSettings
from platform_server.store.connection import Pool
from registration import bans

REGISTER = "/api/v1/platform-agents/register"
BANS = "/api/v1/admin/banned-ips"
BAD = "zzzzzz.0123456789abcdef"
Application = Callable[..., dict[str, Any]]
NewToken = Callable[..., Awaitable[tuple[str, str]]]
Serve = Callable[..., AbstractAsyncContextManager[AsyncClient]]


async def attempt(public: AsyncClient, body: dict[str, Any], *, address: str = "203.0.113.7") -> Response:
    return await public.post(REGISTER, json=body, headers={"X-Forwarded-For": address})


async def ban(public: AsyncClient, application: Application, *, address: str = "203.0.113.7") -> list[int]:
    return [(await attempt(public, application(BAD), address=address)).status_code for _ in range(6)]


async def banned(admin: AsyncClient) -> list[str]:
    return [row["ip"] for row in (await admin.get(BANS)).json()["banned_ips"]]


async def test_the_fifth_failure_bans_the_address_and_no_other(
    public: AsyncClient, admin: AsyncClient, new_token: NewToken, application: Application
) -> None:
    assert await ban(public, application) == [401] * 5 + [429]
    _, raw = await new_token(max_uses=2)
    refused = await attempt(public, application(raw))
    assert (refused.status_code, refused.json()["code"]) == (429, "banned")
    assert 890 <= int(refused.headers["retry-after"]) <= 900
    assert (await attempt(public, application(raw), address="203.0.113.8")).status_code == 201
    assert await banned(admin) == ["203.0.113.7"]


async def test_a_hundred_parallel_failures_are_five(serve: Serve, application: Application) -> None:
    async with serve() as one, serve() as other:
        answers = await asyncio.gather(*(attempt((one, other)[n % 2], application(BAD)) for n in range(100)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(401), statuses.count(429)) == (5, 95)


async def test_refusals_of_a_genuine_token_are_no_failures(
    public: AsyncClient, admin: AsyncClient, new_token: NewToken, application: Application
) -> None:
    _, raw = await new_token(required_region="eu-west-1")
    statuses = [(await attempt(public, application(raw))).status_code for _ in range(10)]
    assert statuses == [403] * 10
    assert await banned(admin) == []


async def test_lifting_a_ban(public: AsyncClient, admin: AsyncClient, pool: Pool, application: Application) -> None:
    await ban(public, application)
    lifted = await admin.delete(f"{BANS}/203.0.113.7")
    assert lifted.status_code == 204
    assert await banned(admin) == []
    assert (await attempt(public, application(BAD))).status_code == 401
    assert (await admin.delete(f"{BANS}/203.0.113.7")).status_code == 404
    assert await pool.fetchval("SELECT subject_id FROM admin_audit WHERE action = 'ban.lift'") == "203.0.113.7"


async def test_ipv6_is_banned_and_lifted_by_its_64(
    public: AsyncClient, admin: AsyncClient, application: Application
) -> None:
    await ban(public, application, address="2001:db8:1:2::1")
    assert (await attempt(public, application(BAD), address="2001:db8:1:2:ffff::9")).status_code == 429
    assert (await attempt(public, application(BAD), address="2001:db8:1:3::1")).status_code == 401
    assert await banned(admin) == ["2001:db8:1:2::"]
    assert (await admin.delete(f"{BANS}/2001:db8:1:2::")).status_code == 204
    assert (await attempt(public, application(BAD), address="2001:db8:1:2::1")).status_code == 401


async def test_a_ban_survives_a_flush_of_redis(
    public: AsyncClient, pool: Pool, redis: str, application: Application
) -> None:
    await ban(public, application)
    async with Redis.from_url(redis) as client:
        await client.flushall()
    async with connect(redis) as client:
        await bans.restore(pool, Limiter(client, LimiterSettings()))
    assert (await attempt(public, application(BAD))).status_code == 429


async def test_bans_go_page_by_page(public: AsyncClient, admin: AsyncClient, application: Application) -> None:
    addresses = [f"203.0.113.{n}" for n in range(3)]
    for address in addresses:
        await ban(public, application, address=address)
    first = (await admin.get(BANS, params={"limit": 2})).json()
    rest = (await admin.get(BANS, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [row["ip"] for row in first["banned_ips"] + rest["banned_ips"]] == addresses[::-1]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("ip", ["no-address", "203.0.113.0-24", "::zz", "fe80::1%25eth0", "203.0.113.7"])
async def test_what_is_not_banned_cannot_be_lifted(admin: AsyncClient, ip: str) -> None:
    assert (await admin.delete(f"{BANS}/{ip}")).status_code == 404
