"""JWTs of administrators and tenants, and what an administrator makes with one through the gateway."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import jwt

from platform_core.domain.ids import TenantId, tenant_id_of_name

LIFETIME: Final = timedelta(hours=24)
ISSUER: Final = "platform"
AUDIENCE: Final = "platform-agents"


def admin_token(secret: str) -> str:
    return _mint(secret, subject="local-admin", role="platform_admin")


def tenant_token(secret: str, tenant: TenantId) -> str:
    return _mint(secret, subject=f"user-of-{tenant}", role="tenant", tenant_id=str(tenant))


def make_tenant(gateway: str, secret: str, *, name: str, plan: str) -> TenantId:
    """Create or update the tenant. Raises httpx.HTTPError."""
    tenant = tenant_id_of_name(name)
    _as_admin(secret, "PUT", f"{gateway}/api/v1/admin/tenants/{tenant}", {"name": name, "plan": plan})
    return tenant


def bootstrap_token(gateway: str, secret: str, *, description: str, uses: int = 1, hours: int = 24) -> str:
    """A token that so many agents may register with. Raises httpx.HTTPError."""
    body = {"description": description, "max_uses": uses, "expires_in_hours": hours}
    raw: str = _as_admin(secret, "POST", f"{gateway}/api/v1/admin/bootstrap-tokens", body)["raw_token"]
    return raw


def _as_admin(secret: str, method: str, url: str, body: dict[str, object]) -> dict[str, Any]:
    answer = httpx.request(method, url, headers={"Authorization": f"Bearer {admin_token(secret)}"}, json=body)
    answer.raise_for_status()
    answered: dict[str, Any] = answer.json()
    return answered


def _mint(secret: str, *, subject: str, role: str, **claims: str) -> str:
    now = datetime.now(UTC)
    body = {"sub": subject, "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + LIFETIME, "role": role, **claims}
    return jwt.encode(body, secret, algorithm="HS256")
