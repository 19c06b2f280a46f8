"""Banned addresses: Redis enforces them, this table keeps them through a flush. An IPv6 ban covers its /64."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import asyncpg

from platform_core.domain.errors import NotFound
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("bans")

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Ban:
    """``left``: how long it still lasts."""

    network: Network
    banned_until: datetime
    created_at: datetime
    left: timedelta


async def ban(conn: Conn, network: Network, *, duration: timedelta) -> None:
    """Ban it from now on, or prolong its ban."""
    await conn.execute(SQL["ban"], network, duration)


async def live(conn: Conn) -> list[Ban]:
    """Every ban that is not over."""
    return [_ban(row) for row in await conn.fetch(SQL["live"])]


async def page(conn: Conn, *, after: tuple[datetime, Address] | None = None, limit: int) -> list[Ban]:
    """Bans that are not over, newest first, from the one made at that time on that first address on."""
    made, address = after or (None, None)
    return [_ban(row) for row in await conn.fetch(SQL["page"], made, address, limit)]


async def lift(conn: Conn, address: Address) -> None:
    """End the ban that covers the address. Raises NotFound when none does."""
    if not await conn.fetch(SQL["lift"], address):
        raise NotFound("ban")


async def delete_over(conn: Conn) -> None:
    """Forget bans that are over."""
    await conn.execute(SQL["delete_over"])


def _ban(row: asyncpg.Record) -> Ban:
    return Ban(**{**row, "network": ip_network(str(row["network"]))})
