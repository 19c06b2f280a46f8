"""JWTs of the local stack, and the tenants that they speak for."""

import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import jwt
import msgspec

from platform_core.domain.ids import TenantId, tenant_id_of_name

LIFETIME = timedelta(hours=24)
ISSUER = "platform"
AUDIENCE = "platform-agents"
SAMPLE = Path(__file__).parents[1] / "samples" / "vulnerable-shop"


@dataclass(frozen=True, slots=True)
class Secrets:
    """Made once for a stack, kept in its folder, readable by its owner only."""

    jwt: str
    job_token_keys: str

    @classmethod
    def of(cls, folder: Path) -> "Secrets":
        file = folder / "secrets.json"
        if not file.exists():
            made = cls(jwt=secrets.token_hex(32), job_token_keys=f"k1:{secrets.token_hex(32)}")
            file.touch(mode=0o600)
            file.write_bytes(msgspec.json.encode(made))
        return msgspec.json.decode(file.read_bytes(), type=cls)


def admin_token(known: Secrets) -> str:
    return _mint(known, subject="local-admin", role="platform_admin")


def tenant_token(known: Secrets, tenant: TenantId) -> str:
    return _mint(known, subject=f"user-of-{tenant}", role="tenant", tenant_id=str(tenant))


def make_tenant(gateway: str, known: Secrets, *, name: str, plan: str, workspace: Path) -> TenantId:
    """Create or update the tenant, and lay the sample project into its workspace. Raises httpx.HTTPError."""
    tenant = tenant_id_of_name(name)
    answer = httpx.put(
        f"{gateway}/api/v1/admin/tenants/{tenant}",
        headers={"Authorization": f"Bearer {admin_token(known)}"},
        json={"name": name, "plan": plan},
    )
    answer.raise_for_status()
    shutil.copytree(SAMPLE, workspace / str(tenant) / "sample", dirs_exist_ok=True)
    return tenant


def _mint(known: Secrets, *, subject: str, role: str, **claims: str) -> str:
    now = datetime.now(UTC)
    body = {"sub": subject, "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + LIFETIME, "role": role, **claims}
    return jwt.encode(body, known.jwt, algorithm="HS256")
