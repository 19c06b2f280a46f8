"""Self-registration over HTTP."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
import pytest
from httpx import AsyncClient
from redis.asyncio import Redis

from platform_server.store.connection import Pool

REGISTER = "/api/v1/platform-agents/register"
BAD = "zzzzzz.9876543210fedcba"
TOKENS = "/api/v1/admin/bootstrap-tokens"
NewToken = Callable[..., Awaitable[tuple[str, str]]]
Application = Callable[..., dict[str, Any]]
Serve = Callable[..., AbstractAsyncContextManager[AsyncClient]]


async def trail(admin: AsyncClient, token: str) -> list[tuple[str, str | None]]:
    answer = await admin.get(f"{TOKENS}/{token}/registrations", params={"limit": 200})
    assert answer.status_code == 200
    return [(row["outcome"], row["reason"]) for row in answer.json()["registrations"]]


async def uses(pool: Pool) -> int:
    spent: int = await pool.fetchval("SELECT sum(current_uses) FROM bootstrap_tokens")
    return spent


async def test_the_specifications_example(
    public: AsyncClient, admin: AsyncClient, pool: Pool, new_token: NewToken, application: Application
) -> None:
    token, raw = await new_token(required_region="us-east-1", required_capabilities=["nuclei", "nmap"])
    made = await public.post(REGISTER, json=application(raw))
    assert made.status_code == 201
    agent, key = made.json()["agent"], made.json()["api_key"]
    assert key.startswith("rdv_agent_")
    assert (agent["name"], agent["status"], agent["is_platform_agent"]) == ("scanner-us-east-1-01", "offline", True)
    assert (agent["max_concurrent"], agent["running"], agent["last_seen_at"]) == (10, 0, None)
    stored = await pool.fetchrow("SELECT key_hash, key_prefix FROM agent_keys")
    assert stored is not None
    assert tuple(stored) == (hashlib.sha256(key.encode()).hexdigest(), key[:18])
    assert await trail(admin, token) == [("registered", None)]


async def test_fields_of_a_later_agent_are_ignored(
    public: AsyncClient, new_token: NewToken, application: Application
) -> None:
    _, raw = await new_token()
    body = application(raw, hostname="scan01", labels=["prod"], invented_later=True)
    made = await public.post(REGISTER, json=body)
    assert made.status_code == 201
    assert (made.json()["agent"]["hostname"], made.json()["agent"]["labels"]) == ("scan01", ["prod"])


async def test_every_bad_token_gets_the_same_answer(
    public: AsyncClient, admin: AsyncClient, pool: Pool, new_token: NewToken, application: Application
) -> None:
    revoked, expired, exhausted = await new_token(), await new_token(), await new_token()
    await admin.post(f"{TOKENS}/{revoked[0]}/revoke")
    await pool.execute(
        """
        UPDATE bootstrap_tokens
        SET created_at = now() - interval '2 hours', expires_at = now() - interval '1 hour'
        WHERE id::text = $1
        """,
        expired[0],
    )
    assert (await public.post(REGISTER, json=application(exhausted[1], name="first"))).status_code == 201
    bad = {
        "revoked": revoked[1],
        "expired": expired[1],
        "exhausted": exhausted[1],
        "unknown": "zzzzzz.0123456789abcdef",
        "wrong secret": revoked[1][:6] + ".0123456789abcdef",
        "malformed": "ABC123.0123456789abcdef",
        "with a newline": revoked[1] + "\n",
    }
    answers = {}
    for number, (kind, raw) in enumerate(bad.items()):
        address = {"X-Forwarded-For": f"203.0.113.{number}"}
        refused = await public.post(REGISTER, json=application(raw), headers=address)
        answers[kind] = (refused.status_code, {**refused.json(), "request_id": ""})
    assert {status for status, _ in answers.values()} == {401}
    assert len({msgspec.json.encode(body) for _, body in answers.values()}) == 1
    assert answers["revoked"][1]["code"] == "token_invalid"

    assert await trail(admin, revoked[0]) == [("refused", "token_revoked")]
    assert await trail(admin, expired[0]) == [("refused", "token_expired")]
    assert await trail(admin, exhausted[0]) == [("refused", "token_exhausted"), ("registered", None)]
    unknown = "SELECT reason FROM bootstrap_token_registrations WHERE token_id IS NULL ORDER BY id"
    reasons = [row["reason"] for row in await pool.fetch(unknown)]
    assert reasons == ["token_unknown", "token_unknown", "token_malformed", "token_malformed"]


@pytest.mark.parametrize(
    ("asked", "lacks"),
    [
        ({"required_region": "eu-west-1"}, "region eu-west-1"),
        ({"required_capabilities": ["nuclei", "trivy"]}, "capability trivy"),
        ({"required_tools": ["semgrep"]}, "tool semgrep"),
    ],
)
async def test_an_agent_must_meet_the_tokens_constraints(
    public: AsyncClient,
    admin: AsyncClient,
    pool: Pool,
    new_token: NewToken,
    application: Application,
    asked: dict[str, object],
    lacks: str,
) -> None:
    token, raw = await new_token(**asked)
    refused = await public.post(REGISTER, json=application(raw))
    assert refused.status_code == 403
    assert refused.json()["code"] == "token_constraint"
    assert lacks in refused.json()["detail"]
    assert await uses(pool) == 0
    assert await trail(admin, token) == [("refused", "token_constraint")]


async def test_a_name_in_use_is_refused_and_spends_nothing(
    public: AsyncClient, admin: AsyncClient, pool: Pool, new_token: NewToken, application: Application
) -> None:
    token, raw = await new_token(max_uses=2)
    assert (await public.post(REGISTER, json=application(raw))).status_code == 201
    await pool.execute("UPDATE agent_presence SET online = true, last_seen_at = now()")
    refused = await public.post(REGISTER, json=application(raw))
    assert refused.status_code == 409
    assert refused.json()["code"] == "name_taken"
    assert await uses(pool) == 1
    assert await trail(admin, token) == [("refused", "name_taken"), ("registered", None)]


async def test_an_offline_agent_is_taken_over_and_its_old_key_is_dead(
    public: AsyncClient, admin: AsyncClient, pool: Pool, new_token: NewToken, application: Application
) -> None:
    token, raw = await new_token(max_uses=2)
    first = (await public.post(REGISTER, json=application(raw))).json()
    second = (await public.post(REGISTER, json=application(raw, max_concurrent=3))).json()
    assert second["agent"]["id"] == first["agent"]["id"]
    assert second["agent"]["max_concurrent"] == 3
    alive = [row["key_hash"] for row in await pool.fetch("SELECT key_hash FROM agent_keys")]
    assert alive == [hashlib.sha256(second["api_key"].encode()).hexdigest()]
    assert await trail(admin, token) == [("taken_over", None), ("registered", None)]


@pytest.mark.parametrize(
    ("other", "fields"),
    [
        ({"bootstrap_token": None}, ["bootstrap_token"]),
        ({"name": ""}, ["name"]),
        ({"name": "x" * 101}, ["name"]),
        ({"name": "a\nb"}, ["name"]),
        ({"max_concurrent": 0, "tools": "nuclei"}, ["max_concurrent", "tools"]),
        ({"capabilities": ["$(id)"]}, ["capabilities[0]"]),
        ({"hostname": "\u0000"}, ["hostname"]),
    ],
)
async def test_bad_input(
    public: AsyncClient, application: Application, other: dict[str, object], fields: list[str]
) -> None:
    refused = await public.post(REGISTER, json=application("abc123.0123456789abcdef", **other))
    assert refused.status_code == 400
    assert sorted(error["field"] for error in refused.json()["errors"]) == fields


@pytest.mark.parametrize(
    "body",
    [b"{", b"[]", b"null", b"[" * 10_000, b'{"name": NaN}', b'{"name": "\xff"}', b'{"name": "\\ud800"}'],
    ids=["cut off", "a list", "null", "deep", "NaN", "no UTF-8", "lone surrogate"],
)
async def test_hostile_bodies_are_400(public: AsyncClient, body: bytes) -> None:
    assert (await public.post(REGISTER, content=body)).status_code == 400


async def test_a_body_that_is_too_large_or_no_json(public: AsyncClient) -> None:
    assert (await public.post(REGISTER, content=b" " * 65_537)).status_code == 413
    assert (await public.post(REGISTER, content=b"{}", headers={"Content-Type": "text/xml"})).status_code == 415
    assert (await public.get(REGISTER)).status_code == 405


@pytest.mark.parametrize(("max_uses", "agents"), [(1, 64), (10, 64)], ids=["one use", "ten uses"])
async def test_racing_registrations_never_spend_more_than_the_tokens_uses(
    serve: Serve,
    admin: AsyncClient,
    pool: Pool,
    new_token: NewToken,
    application: Application,
    max_uses: int,
    agents: int,
) -> None:
    token, raw = await new_token(max_uses=max_uses)
    async with serve() as one, serve() as other:
        answers = await asyncio.gather(
            *(
                (one, other)[n % 2].post(
                    REGISTER,
                    json=application(raw, name=f"scanner-{n}"),
                    headers={"X-Forwarded-For": f"203.0.113.{n}"},
                )
                for n in range(agents)
            )
        )
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(201), statuses.count(401)) == (max_uses, agents - max_uses)
    assert await pool.fetchval("SELECT count(*) FROM agents") == max_uses
    assert await uses(pool) == max_uses
    outcomes = [outcome for outcome, _ in await trail(admin, token)]
    assert outcomes.count("registered") == max_uses


async def test_one_name_raced_by_many_belongs_to_the_last_with_one_key(
    serve: Serve, pool: Pool, new_token: NewToken, application: Application
) -> None:
    _, raw = await new_token(max_uses=20)
    async with serve() as one:
        answers = await asyncio.gather(*(one.post(REGISTER, json=application(raw)) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {201}
    assert await pool.fetchval("SELECT count(*) FROM agents") == 1
    assert await pool.fetchval("SELECT count(*) FROM agent_keys") == 1


async def test_a_registration_is_told_to_the_others(
    public: AsyncClient, redis: str, new_token: NewToken, application: Application
) -> None:
    _, raw = await new_token()
    agent = (await public.post(REGISTER, json=application(raw))).json()["agent"]["id"]
    async with Redis.from_url(redis) as client:
        entries: Any = await client.xrange("platform:agents")
    events = [msgspec.json.decode(fields[b"body"]) for _, fields in entries]
    assert events == [{"kind": "registered", "agent_id": agent}]


async def test_without_postgres_the_answer_is_503(serve: Serve, application: Application) -> None:
    async with serve(database_url="postgresql://nobody@127.0.0.1:1/none") as away:
        refused = await away.post(REGISTER, json=application("abc123.0123456789abcdef"))
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert refused.headers["retry-after"] == "2"


async def test_a_token_is_never_logged(
    public: AsyncClient, new_token: NewToken, application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    _, raw = await new_token()
    for shown in (raw, raw, BAD):
        answer = await public.post(REGISTER, json=application(shown))
        assert raw not in answer.text
    told = [str(record.__dict__) for record in caplog.records]
    assert told
    assert not [line for line in told if raw[7:] in line or BAD[7:] in line]
