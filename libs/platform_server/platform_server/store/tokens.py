"""Bootstrap tokens, and the audit trail of every attempt to register with one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from uuid import UUID

from platform_core.domain.errors import NotFound
from platform_core.domain.ids import AgentId, TokenId, UserId
from platform_core.domain.tokens import same_hash
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("tokens")

Address = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """``hash``: SHA-256, in hex, of the whole raw token."""

    id: TokenId
    hash: str
    prefix: str
    description: str | None
    max_uses: int
    required_capabilities: Sequence[str]
    required_tools: Sequence[str]
    required_region: str | None
    lifetime: timedelta
    created_by: UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """``status``: active, expired, exhausted or revoked."""

    id: TokenId
    token_prefix: str
    description: str | None
    status: str
    max_uses: int
    current_uses: int
    required_capabilities: Sequence[str]
    required_tools: Sequence[str]
    required_region: str | None
    expires_at: datetime
    created_by: UserId | None
    revoked_by: UserId | None
    revoked_at: datetime | None
    revoke_reason: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A try to register. ``outcome``: registered, taken_over or refused, then with a ``reason``."""

    token: TokenId | None
    agent: AgentId | None
    agent_name: str
    address: Address
    outcome: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    id: UUID
    agent_id: AgentId | None
    agent_name: str | None
    address: str | None
    outcome: str
    reason: str | None
    created_at: datetime


async def insert(conn: Conn, new: NewToken) -> None:
    await conn.execute(
        SQL["insert"],
        new.id, new.hash, new.prefix, new.description, new.max_uses, new.required_capabilities, new.required_tools,
        new.required_region, new.lifetime, new.created_by,
    )  # fmt: skip


async def matching(conn: Conn, *, prefix: str, token_hash: str) -> Token | None:
    """The token that was shown, whatever its status. Hashes are compared in constant time."""
    found = None
    for row in await conn.fetch(SQL["with_prefix"], prefix):
        if same_hash(row["token_hash"], token_hash):
            found = row["id"]
    return None if found is None else await find(conn, found)


async def take_use_if_usable(conn: Conn, token: TokenId) -> bool:
    """Spend a use if one is left and the token is active and not expired. Locks the token until the commit."""
    return await conn.fetchval(SQL["take_use_if_usable"], token) is not None


async def revoke_if_not_revoked(conn: Conn, token: TokenId, *, by: UserId, reason: str | None) -> bool:
    """Was it this call that revoked it?"""
    return await conn.fetchval(SQL["revoke_if_not_revoked"], token, by, reason) is not None


async def find(conn: Conn, token: TokenId) -> Token:
    """Raises NotFound."""
    row = await conn.fetchrow(SQL["find"], token)
    if row is None:
        raise NotFound("token")
    return Token(**row)


async def page(conn: Conn, *, status: str | None = None, after: UUID | None = None, limit: int) -> list[Token]:
    """Tokens of that status, newest first, from the one ``after`` on."""
    return [Token(**row) for row in await conn.fetch(SQL["page"], status, after, limit)]


async def record(conn: Conn, tried: Attempt) -> None:
    """Add the attempt to the audit trail."""
    await conn.execute(
        SQL["record"], tried.token, tried.agent, tried.agent_name, tried.address, tried.outcome, tried.reason
    )


async def registrations(conn: Conn, token: TokenId, *, after: UUID | None = None, limit: int) -> list[Registration]:
    """The attempts with that token, newest first."""
    rows = await conn.fetch(SQL["registrations"], token, after, limit)
    return [Registration(**{**row, "address": row["address"] and str(row["address"])}) for row in rows]
