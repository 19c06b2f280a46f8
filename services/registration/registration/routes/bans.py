"""Banned addresses. A handler decodes, calls, encodes."""

from datetime import datetime
from ipaddress import ip_address

from starlette.responses import Response

from platform_core.domain.errors import FieldError, Invalid
from platform_core.wire import tenants as wire
from platform_core.wire.base import PageQuery
from platform_server.kit import pages
from platform_server.kit.bodies import answer, no_content
from platform_server.store import bans as store
from platform_server.store.connection import acquire
from registration import bans
from registration.administrators import Administrator
from registration.routes.requests import Request, banned_ip


async def lift(request: Request, by: Administrator) -> Response:
    at = request.state
    await bans.lift(at["pool"], at["limiter"], by, banned_ip(request))
    return no_content()


async def listing(request: Request, _: Administrator) -> Response:
    asked = pages.query(request, PageQuery)
    async with acquire(request.state["pool"]) as conn:
        found = await store.page(conn, after=_after(asked), limit=asked.limit + 1)
    page = pages.cut(found, asked, lambda ban: (ban.created_at, str(ban.network.network_address)))
    return answer(wire.BannedIpList(banned_ips=tuple(view(b) for b in page.items), next_cursor=page.next_cursor))


def view(ban: store.Ban) -> wire.BannedIp:
    return wire.BannedIp(ip=str(ban.network.network_address), banned_until=ban.banned_until, created_at=ban.created_at)


def _after(asked: PageQuery) -> tuple[datetime, store.Address] | None:
    seen = pages.after(asked, tuple[datetime, str])
    if seen is None:
        return None
    try:
        return seen[0], ip_address(seen[1])
    except ValueError:
        raise Invalid([FieldError("cursor", "Not a cursor of this list.")]) from None
