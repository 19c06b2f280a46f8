"""Bearer tokens of people and tenants: JWTs with ``sub``, ``iss``, ``aud``, ``exp``, ``role`` and ``tenant_id``."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import jwt
from starlette.requests import Request, StateT

from platform_core.domain.errors import SystemTenantForbidden, Unauthenticated, WrongRole
from platform_core.domain.ids import SYSTEM_TENANT, TenantId


class Role(StrEnum):
    ADMIN = "platform_admin"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a verified token speaks for. ``tenant`` is there for tenants."""

    issuer: str
    subject: str
    role: Role
    tenant: TenantId | None


@dataclass(frozen=True, slots=True)
class JwtRules:
    secret: str
    issuer: str
    audience: str


def admin(request: Request[StateT], rules: JwtRules) -> Principal:
    """Raises Unauthenticated, WrongRole or SystemTenantForbidden."""
    return _with_role(request, rules, Role.ADMIN)


def tenant(request: Request[StateT], rules: JwtRules) -> Principal:
    """Raises Unauthenticated, WrongRole or SystemTenantForbidden."""
    return _with_role(request, rules, Role.TENANT)


def tenant_of(principal: Principal) -> TenantId:
    assert principal.tenant is not None
    return principal.tenant


def _with_role(request: Request[StateT], rules: JwtRules, role: Role) -> Principal:
    scheme, _, raw = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not raw:
        raise Unauthenticated("jwt_missing")
    principal = verify(raw, rules)
    if principal.role is not role:
        raise WrongRole
    return principal


def verify(raw: str, rules: JwtRules) -> Principal:
    """The token's principal, if signature, issuer, audience and expiry hold. Raises Unauthenticated."""
    try:
        claims = jwt.decode(
            raw,
            rules.secret,
            algorithms=["HS256"],
            issuer=rules.issuer,
            audience=rules.audience,
            options={"require": ["sub", "iss", "aud", "exp"]},
        )
        role = Role(claims["role"])
        named = TenantId(UUID(claims["tenant_id"])) if "tenant_id" in claims or role is Role.TENANT else None
    except jwt.ExpiredSignatureError as error:
        raise Unauthenticated("jwt_expired") from error
    except (jwt.PyJWTError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise Unauthenticated("jwt_invalid") from error
    if named == SYSTEM_TENANT:
        raise SystemTenantForbidden
    return Principal(claims["iss"], claims["sub"], role, named)
