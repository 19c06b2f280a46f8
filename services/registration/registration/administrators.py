"""Who acts: an administrator's write and its audit row are one transaction."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from platform_core.domain.ids import UserId
from platform_server.store import audit, users
from platform_server.store.connection import Conn, Pool, transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Administrator:
    """Whom the bearer token named, and the address it came from."""

    issuer: str
    subject: str
    address: IPv4Address | IPv6Address


@asynccontextmanager
async def acting(
    pool: Pool, by: Administrator, action: str, subject: object, *, detail: Mapping[str, object] | None = None
) -> AsyncIterator[tuple[Conn, UserId]]:
    """A transaction with its audit row in it. ``subject``: the id of what is acted on."""
    async with transaction(pool) as conn:
        user = await users.ensure(conn, issuer=by.issuer, subject=by.subject)
        yield conn, user
        await audit.write(conn, user=user, action=action, subject=str(subject), address=by.address, detail=detail)
