"""Bootstrap tokens: made once, shown once, revoked."""

import secrets
from datetime import timedelta

from platform_core.domain import tokens as credentials
from platform_core.domain.ids import TokenId
from platform_core.wire.tokens import CreateToken
from platform_server.store import tokens
from platform_server.store.connection import Pool
from registration.administrators import Administrator, acting


async def create(pool: Pool, by: Administrator, asked: CreateToken, *, new_id: TokenId) -> tuple[tokens.Token, str]:
    """Make a token; gives it and the raw token, of which only the hash is kept."""
    raw = credentials.new_bootstrap(secrets.randbelow)
    async with acting(pool, by, "token.create", new_id, detail={"prefix": raw.prefix}) as (conn, user):
        await tokens.insert(
            conn,
            tokens.NewToken(
                id=new_id,
                hash=credentials.secret_hash(raw.raw),
                prefix=raw.prefix,
                description=asked.description,
                max_uses=asked.max_uses,
                required_capabilities=sorted(set(asked.required_capabilities)),
                required_tools=sorted(set(asked.required_tools)),
                required_region=asked.required_region,
                lifetime=timedelta(hours=asked.expires_in_hours),
                created_by=user,
            ),
        )
        return await tokens.find(conn, new_id), raw.raw


async def revoke(pool: Pool, by: Administrator, token: TokenId, *, reason: str | None) -> tokens.Token:
    """Revoke it; one that is revoked already stays as it is. Raises NotFound."""
    async with acting(pool, by, "token.revoke", token, detail={"reason": reason}) as (conn, user):
        await tokens.revoke_if_not_revoked(conn, token, by=user, reason=reason)
        return await tokens.find(conn, token)
