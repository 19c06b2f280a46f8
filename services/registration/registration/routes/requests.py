"""What every handler needs of a request: the opened resources, the administrator, the id in the path, the page."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from ipaddress import IPv6Address, ip_address
from typing import TypedDict
from uuid import UUID

from starlette.requests import Request as AnyRequest
from starlette.responses import Response

from platform_core.domain.errors import NotFound, SystemTenantForbidden
from platform_core.domain.ids import SYSTEM_TENANT, AgentId, TenantId, TokenId
from platform_server.assembly.announcer import Announcer
from platform_server.kit import auth
from platform_server.kit.client_address import Address
from platform_server.signals.limiter import Limiter
from platform_server.store.connection import Pool
from registration.administrators import Administrator


class State(TypedDict):
    """What the lifespan opens."""

    pool: Pool
    jwt: auth.JwtRules
    limiter: Limiter
    announcer: Announcer
    rotation_grace: timedelta


Request = AnyRequest[State]
Handler = Callable[[Request], Awaitable[Response]]


def administered(handler: Callable[[Request, Administrator], Awaitable[Response]]) -> Handler:
    """The handler, for platform administrators only: it is given who acts."""

    async def checked(request: Request) -> Response:
        principal = auth.admin(request, request.state["jwt"])
        by = Administrator(issuer=principal.issuer, subject=principal.subject, address=address_of(request))
        return await handler(request, by)

    return checked


def address_of(request: Request) -> Address:
    address: Address = request.scope["client_address"]
    return address


def agent_id(request: Request) -> AgentId:
    return AgentId(_id(request))


def token_id(request: Request) -> TokenId:
    return TokenId(_id(request))


def tenant_id(request: Request) -> TenantId:
    """Raises SystemTenantForbidden: that one is not administered."""
    tenant = TenantId(_id(request))
    if tenant == SYSTEM_TENANT:
        raise SystemTenantForbidden
    return tenant


def banned_ip(request: Request) -> Address:
    """Raises NotFound: what is no address is not banned."""
    try:
        address = ip_address(request.path_params["ip"])
    except ValueError:
        raise NotFound("ban") from None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise NotFound("ban")
    return address


def _id(request: Request) -> UUID:
    found: UUID = request.path_params["id"]
    return found
