"""Bans in Postgres."""

from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest

from platform_core.domain.errors import NotFound
from platform_server.store import bans
from platform_server.store.connection import Conn

V4, V6 = ip_network("203.0.113.7/32"), ip_network("2001:db8:1:2::/64")


def minutes(n: int) -> timedelta:
    return timedelta(minutes=n)


async def test_a_ban_is_kept_as_the_network_that_it_covers(conn: Conn) -> None:
    await bans.ban(conn, V4, duration=minutes(15))
    await bans.ban(conn, V6, duration=minutes(15))
    assert {b.network for b in await bans.live(conn)} == {V4, V6}


async def test_a_later_ban_never_shortens_an_earlier_one(conn: Conn) -> None:
    await bans.ban(conn, V4, duration=minutes(15))
    first = await bans.live(conn)
    await bans.ban(conn, V4, duration=minutes(1))
    assert [b.banned_until for b in await bans.live(conn)] == [first[0].banned_until]
    assert first[0].left <= minutes(15)


async def test_any_address_of_the_network_lifts_it(conn: Conn) -> None:
    await bans.ban(conn, V6, duration=minutes(15))
    await bans.lift(conn, ip_address("2001:db8:1:2:3:4:5:6"))
    assert await bans.live(conn) == []
    with pytest.raises(NotFound):
        await bans.lift(conn, ip_address("2001:db8:1:2::"))


async def test_a_ban_that_is_over_is_not_told_and_not_kept(conn: Conn) -> None:
    await bans.ban(conn, V4, duration=minutes(-1))
    assert await bans.live(conn) == []
    assert await bans.page(conn, limit=10) == []
    await bans.delete_over(conn)
    assert await conn.fetchval("SELECT count(*) FROM banned_ips") == 0


async def test_pages_are_newest_first(conn: Conn) -> None:
    networks = [ip_network(f"203.0.113.{n}/32") for n in range(3)]
    for network in networks:
        await bans.ban(conn, network, duration=minutes(15))
    first = await bans.page(conn, limit=2)
    last = first[-1]
    rest = await bans.page(conn, after=(last.created_at, last.network.network_address), limit=2)
    assert [b.network for b in [*first, *rest]] == networks[::-1]
