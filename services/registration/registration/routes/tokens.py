"""Bootstrap tokens and their audit trail. A handler decodes, calls, encodes."""

from uuid import UUID

import msgspec
from starlette.responses import Response

from platform_core.domain.ids import TokenId
from platform_core.wire import tokens as wire
from platform_core.wire.base import PageQuery
from platform_core.wire.queries import TokenQuery
from platform_server.kit import clock, pages
from platform_server.kit.bodies import answer, read
from platform_server.store import tokens as store
from platform_server.store.connection import acquire
from registration import tokens
from registration.administrators import Administrator
from registration.routes.requests import Request, token_id


async def create(request: Request, by: Administrator) -> Response:
    asked = await read(request, wire.CreateToken)
    made, raw = await tokens.create(request.state["pool"], by, asked, new_id=TokenId(clock.new_id()))
    return answer(wire.TokenCreated(token=view(made), raw_token=raw), 201)


async def revoke(request: Request, by: Administrator) -> Response:
    asked = await read(request, wire.RevokeToken)
    revoked = await tokens.revoke(request.state["pool"], by, token_id(request), reason=asked.reason)
    return answer(wire.TokenAnswer(token=view(revoked)))


async def listing(request: Request, _: Administrator) -> Response:
    asked = pages.query(request, TokenQuery)
    async with acquire(request.state["pool"]) as conn:
        found = await store.page(conn, status=asked.status, after=pages.after(asked, UUID), limit=asked.limit + 1)
    page = pages.cut(found, asked, lambda token: token.id)
    return answer(wire.TokenList(tokens=tuple(view(t) for t in page.items), next_cursor=page.next_cursor))


async def registrations(request: Request, _: Administrator) -> Response:
    asked, token = pages.query(request, PageQuery), token_id(request)
    async with acquire(request.state["pool"]) as conn:
        await store.find(conn, token)
        found = await store.registrations(conn, token, after=pages.after(asked, UUID), limit=asked.limit + 1)
    page = pages.cut(found, asked, lambda registration: registration.id)
    views = msgspec.convert(page.items, tuple[wire.Registration, ...], from_attributes=True)
    return answer(wire.RegistrationList(registrations=views, next_cursor=page.next_cursor))


def view(token: store.Token) -> wire.Token:
    return msgspec.convert(token, wire.Token, from_attributes=True)
