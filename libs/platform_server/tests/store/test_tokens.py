"""Bootstrap tokens and their audit trail in Postgres."""

from datetime import timedelta
from ipaddress import ip_address

import pytest

from platform_core.domain.errors import NotFound
from platform_core.domain.ids import TokenId, UserId
from platform_server.kit.clock import new_id
from platform_server.store import tokens, users
from platform_server.store.connection import Conn

HASH = "a" * 64


async def admin(conn: Conn) -> UserId:
    return await users.ensure(conn, issuer="platform", subject="ada")


async def made(conn: Conn, *, max_uses: int = 2, token_hash: str = HASH) -> TokenId:
    token = TokenId(new_id())
    await tokens.insert(
        conn,
        tokens.NewToken(
            id=token,
            hash=token_hash,
            prefix="abc123",
            description="Production agents",
            max_uses=max_uses,
            required_capabilities=["nuclei"],
            required_tools=[],
            required_region="us-east-1",
            lifetime=timedelta(hours=1),
            created_by=await admin(conn),
        ),
    )
    return token


async def expire(conn: Conn, token: TokenId) -> None:
    await conn.execute(
        """
        UPDATE bootstrap_tokens
        SET created_at = now() - interval '2 hours', expires_at = now() - interval '1 hour'
        WHERE id = $1
        """,
        token,
    )


async def test_the_same_person_is_one_user(conn: Conn) -> None:
    assert await admin(conn) == await admin(conn)
    assert await admin(conn) != await users.ensure(conn, issuer="another", subject="ada")


async def test_a_token_is_found_by_its_hash_among_those_of_its_prefix(conn: Conn) -> None:
    token, other = await made(conn), await made(conn, token_hash="b" * 64)
    found = [await tokens.matching(conn, prefix="abc123", token_hash=h * 64) for h in "abc"]
    assert [t and t.id for t in found] == [token, other, None]
    assert await tokens.matching(conn, prefix="zzz999", token_hash=HASH) is None


async def test_uses_end_with_the_last_one(conn: Conn) -> None:
    token = await made(conn, max_uses=2)
    assert [await tokens.take_use_if_usable(conn, token) for _ in range(3)] == [True, True, False]
    now = await tokens.find(conn, token)
    assert (now.status, now.current_uses) == ("exhausted", 2)


async def test_an_expired_token_gives_no_use(conn: Conn) -> None:
    token = await made(conn)
    await expire(conn, token)
    assert not await tokens.take_use_if_usable(conn, token)
    assert (await tokens.find(conn, token)).status == "expired"


async def test_a_revoked_token_gives_no_use_and_keeps_its_first_reason(conn: Conn) -> None:
    token, by = await made(conn), await admin(conn)
    assert await tokens.revoke_if_not_revoked(conn, token, by=by, reason="leaked")
    assert not await tokens.revoke_if_not_revoked(conn, token, by=by, reason="again")
    assert not await tokens.take_use_if_usable(conn, token)
    now = await tokens.find(conn, token)
    assert (now.status, now.revoke_reason, now.revoked_by) == ("revoked", "leaked", by)


async def test_an_unknown_token_is_not_found(conn: Conn) -> None:
    with pytest.raises(NotFound):
        await tokens.find(conn, TokenId(new_id()))


async def test_pages_by_status(conn: Conn) -> None:
    active = await made(conn, token_hash="a" * 64)
    expired = await made(conn, token_hash="b" * 64)
    exhausted = await made(conn, token_hash="c" * 64, max_uses=1)
    revoked = await made(conn, token_hash="d" * 64)
    await expire(conn, expired)
    await tokens.take_use_if_usable(conn, exhausted)
    await tokens.revoke_if_not_revoked(conn, revoked, by=await admin(conn), reason=None)
    by_status = {
        status: [t.id for t in await tokens.page(conn, status=status, limit=10)]
        for status in ("active", "expired", "exhausted", "revoked")
    }
    assert by_status == {"active": [active], "expired": [expired], "exhausted": [exhausted], "revoked": [revoked]}
    first = await tokens.page(conn, limit=3)
    rest = await tokens.page(conn, after=first[-1].id, limit=3)
    assert [t.id for t in [*first, *rest]] == sorted([active, expired, exhausted, revoked], reverse=True)


async def test_every_attempt_is_kept_newest_first(conn: Conn) -> None:
    token, address = await made(conn), ip_address("203.0.113.7")
    for name, outcome, reason in (("one", "registered", None), ("two", "refused", "token_exhausted")):
        await tokens.record(
            conn,
            tokens.Attempt(token=token, agent=None, agent_name=name, address=address, outcome=outcome, reason=reason),
        )
    trail = await tokens.registrations(conn, token, limit=10)
    assert [(r.agent_name, r.outcome, r.reason, r.address) for r in trail] == [
        ("two", "refused", "token_exhausted", "203.0.113.7"),
        ("one", "registered", None, "203.0.113.7"),
    ]
    assert [r.agent_name for r in await tokens.registrations(conn, token, after=trail[0].id, limit=10)] == ["one"]
