"""Bootstrap tokens over HTTP."""

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest
from httpx import AsyncClient

from platform_server.store.connection import Pool

TOKENS = "/api/v1/admin/bootstrap-tokens"
NewToken = Callable[..., Awaitable[tuple[str, str]]]


async def test_the_specifications_example(admin: AsyncClient, pool: Pool) -> None:
    asked = {
        "description": "Production agents - US region",
        "expires_in_hours": 24,
        "max_uses": 10,
        "required_region": "us-east-1",
        "required_capabilities": ["nuclei", "nmap"],
    }
    made = await admin.post(TOKENS, json=asked)
    assert made.status_code == 201
    token, raw = made.json()["token"], made.json()["raw_token"]
    assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", raw)
    assert token["token_prefix"] == raw[:6]
    assert (token["status"], token["max_uses"], token["current_uses"]) == ("active", 10, 0)
    assert token["required_capabilities"] == ["nmap", "nuclei"]
    made_at, expires_at = (datetime.fromisoformat(token[name]) for name in ("created_at", "expires_at"))
    assert expires_at - made_at == timedelta(hours=24)
    stored = await pool.fetchrow("SELECT token_hash, bootstrap_tokens::text AS everything FROM bootstrap_tokens")
    assert stored is not None
    assert stored["token_hash"] == hashlib.sha256(raw.encode()).hexdigest()
    assert raw[7:] not in stored["everything"]


async def test_an_empty_body_makes_a_token_of_one_use_and_a_day(admin: AsyncClient) -> None:
    token = (await admin.post(TOKENS)).json()["token"]
    made_at, expires_at = (datetime.fromisoformat(token[name]) for name in ("created_at", "expires_at"))
    assert (token["max_uses"], expires_at - made_at) == (1, timedelta(hours=24))
    assert (token["description"], token["required_region"], token["required_tools"]) == (None, None, [])


@pytest.mark.parametrize(("hours", "status"), [(0, 400), (1, 201), (168, 201), (169, 400)])
async def test_expiration_is_1_to_168_hours(admin: AsyncClient, hours: int, status: int) -> None:
    made = await admin.post(TOKENS, json={"expires_in_hours": hours})
    assert made.status_code == status
    if status == 201:
        made_at, expires_at = (datetime.fromisoformat(made.json()["token"][n]) for n in ("created_at", "expires_at"))
        assert expires_at - made_at == timedelta(hours=hours)


@pytest.mark.parametrize(("uses", "status"), [(0, 400), (1, 201), (100, 201), (101, 400)])
async def test_a_token_has_1_to_100_uses(admin: AsyncClient, uses: int, status: int) -> None:
    made = await admin.post(TOKENS, json={"max_uses": uses})
    assert made.status_code == status
    if status == 201:
        assert made.json()["token"]["max_uses"] == uses


async def test_a_raw_token_is_shown_once(admin: AsyncClient, new_token: NewToken) -> None:
    token, raw = await new_token()
    for later in (
        await admin.get(TOKENS),
        await admin.get(f"{TOKENS}/{token}/registrations"),
        await admin.post(f"{TOKENS}/{token}/revoke"),
    ):
        assert later.status_code == 200
        assert raw[7:] not in later.text


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({"max_uses": "5"}, ["max_uses"]),
        ({"required_capabilities": ["Nuclei"]}, ["required_capabilities[0]"]),
        ({"required_capabilities": ["a"] * 51}, ["required_capabilities"]),
        ({"required_region": "us-east-1\n"}, ["required_region"]),
        ({"description": "x" * 1001}, ["description"]),
        ({"description": "\u0000"}, ["description"]),
        ({"max_use": 5}, ["max_use"]),
        ({"max_uses": 0, "expires_in_hours": 0, "oops": 1}, ["expires_in_hours", "max_uses", "oops"]),
    ],
)
async def test_bad_input_is_named_field_by_field(
    admin: AsyncClient, asked: dict[str, object], fields: list[str]
) -> None:
    refused = await admin.post(TOKENS, json=asked)
    assert refused.status_code == 400
    assert refused.headers["content-type"] == "application/problem+json"
    problem = refused.json()
    assert problem["code"] == "validation_failed"
    assert sorted(error["field"] for error in problem["errors"]) == fields
    assert problem["request_id"] == refused.headers["x-request-id"]


async def test_created_by_is_the_administrator_made_a_user_at_the_first_write(admin: AsyncClient, pool: Pool) -> None:
    made = [(await admin.post(TOKENS)).json()["token"]["created_by"] for _ in range(2)]
    users = await pool.fetch("SELECT id, issuer, subject FROM users")
    assert [(str(u["id"]), u["issuer"], u["subject"]) for u in users] == [(made[0], "platform", "ada")]
    assert made[0] == made[1]
    trail = await pool.fetch("SELECT action, host(address) AS address FROM admin_audit")
    assert [tuple(row) for row in trail] == [("token.create", "127.0.0.1")] * 2


async def test_revoking_is_idempotent(admin: AsyncClient, new_token: NewToken) -> None:
    token, _ = await new_token()
    first = await admin.post(f"{TOKENS}/{token}/revoke", json={"reason": "leaked"})
    assert first.status_code == 200
    assert first.json()["token"]["status"] == "revoked"
    assert first.json()["token"]["revoke_reason"] == "leaked"
    again = await admin.post(f"{TOKENS}/{token}/revoke")
    assert again.status_code == 200
    assert again.json() == first.json()


@pytest.mark.parametrize("call", ["POST revoke", "GET registrations"])
@pytest.mark.parametrize("token", ["01890000-0000-7000-8000-000000000000", "not-an-id"])
async def test_an_unknown_token_is_404(admin: AsyncClient, call: str, token: str) -> None:
    method, path = call.split()
    missing = await admin.request(method, f"{TOKENS}/{token}/{path}")
    assert missing.status_code == 404
    assert missing.headers["content-type"] == "application/problem+json"


async def test_lists_go_page_by_page_and_by_status(admin: AsyncClient, new_token: NewToken) -> None:
    made = [(await new_token())[0] for _ in range(3)]
    await admin.post(f"{TOKENS}/{made[0]}/revoke")
    first = (await admin.get(TOKENS, params={"limit": 2})).json()
    rest = (await admin.get(TOKENS, params={"limit": 2, "cursor": first["next_cursor"]})).json()
    assert [t["id"] for t in first["tokens"] + rest["tokens"]] == made[::-1]
    assert rest["next_cursor"] is None
    revoked = (await admin.get(TOKENS, params={"status": "revoked"})).json()["tokens"]
    assert [t["id"] for t in revoked] == [made[0]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "201"}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "eyJ4IjoxfQ=="}, "cursor"),
        ({"status": "new"}, "status"),
        ({"stats": "active"}, "stats"),
    ],
)
async def test_bad_queries_are_400(admin: AsyncClient, query: dict[str, str], field: str) -> None:
    refused = await admin.get(TOKENS, params=query)
    assert refused.status_code == 400
    assert [error["field"] for error in refused.json()["errors"]] == [field]
