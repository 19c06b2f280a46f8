"""Bearer tokens of people and tenants."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
import pytest
from starlette.requests import Request

from platform_core.domain.errors import SystemTenantForbidden, Unauthenticated, WrongRole
from platform_core.domain.ids import SYSTEM_TENANT
from platform_server.kit import auth
from platform_server.kit.auth import JwtRules, Principal, Role
from world import JWT_SECRET, bearer

MakeRequest = Callable[..., Request]

RULES = JwtRules(JWT_SECRET, "platform", "platform-agents")
TENANT = UUID("6f9619ff-8b86-4011-b42d-00cf4fc964ff")


def with_token(request_of: MakeRequest, token: str, scheme: str = "Bearer") -> Request:
    return request_of(headers={"Authorization": f"{scheme} {token}"})


def test_a_tenants_token_names_its_tenant(request_of: MakeRequest) -> None:
    token = bearer(role="tenant", tenant_id=str(TENANT), sub="bob")
    principal = auth.tenant(with_token(request_of, token, "bearer"), RULES)
    assert principal == Principal("platform", "bob", Role.TENANT, auth.tenant_of(principal))
    assert auth.tenant_of(principal) == TENANT


def test_an_administrators_token_needs_no_tenant(request_of: MakeRequest) -> None:
    assert auth.admin(with_token(request_of, bearer()), RULES).subject == "ada"


def test_neither_may_do_what_the_other_may(request_of: MakeRequest) -> None:
    with pytest.raises(WrongRole):
        auth.tenant(with_token(request_of, bearer()), RULES)
    with pytest.raises(WrongRole):
        auth.admin(with_token(request_of, bearer(role="tenant", tenant_id=str(TENANT))), RULES)


@pytest.mark.parametrize("role", ["tenant", "platform_admin"])
def test_a_token_that_names_the_system_tenant_is_forbidden(role: str) -> None:
    with pytest.raises(SystemTenantForbidden):
        auth.verify(bearer(role=role, tenant_id=str(SYSTEM_TENANT)), RULES)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "x"])
def test_without_a_token_it_is_missing(request_of: MakeRequest, header: str | None) -> None:
    request = request_of(headers={} if header is None else {"Authorization": header})
    with pytest.raises(Unauthenticated) as refused:
        auth.admin(request, RULES)
    assert refused.value.reason == "jwt_missing"


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": None}, {"iss": None}, {"aud": None}, {"exp": None}, {"role": None},
        {"iss": "another"}, {"aud": "another"}, {"role": "root"}, {"role": ["platform_admin"]}, {"role": 1},
        {"role": "tenant"}, {"role": "tenant", "tenant_id": "acme"}, {"role": "tenant", "tenant_id": 7},
        {"secret": "another secret of thirty-two bytes"},
        {"nbf": datetime(2100, 1, 1, tzinfo=UTC)},
    ],
    ids=str,
)  # fmt: skip
def test_a_token_that_does_not_hold_is_invalid(claims: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated) as refused:
        auth.verify(bearer(**claims), RULES)
    assert refused.value.reason == "jwt_invalid"


def test_an_expired_token_is_expired() -> None:
    with pytest.raises(Unauthenticated) as refused:
        auth.verify(bearer(exp=datetime.now(UTC) - timedelta(seconds=1)), RULES)
    assert refused.value.reason == "jwt_expired"


@pytest.mark.parametrize("raw", ["", "x", "a.b.c", "é.é.é", "\x00", "." * 1000])
def test_what_is_no_token_is_invalid(raw: str) -> None:
    with pytest.raises(Unauthenticated):
        auth.verify(raw, RULES)


@pytest.mark.parametrize("algorithm", ["none", "HS512"])
def test_no_other_algorithm_is_believed(algorithm: str) -> None:
    claims = jwt.decode(bearer(), options={"verify_signature": False})
    key = "" if algorithm == "none" else JWT_SECRET * 2
    token = jwt.encode(claims, key, algorithm=algorithm)
    with pytest.raises(Unauthenticated):
        auth.verify(token, JwtRules(key or JWT_SECRET, RULES.issuer, RULES.audience))
