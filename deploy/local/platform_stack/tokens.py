"""The local stack's secrets, and the tenants that its tokens speak for."""

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec

from platform_core.domain.ids import TenantId
from platform_ops import tokens

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
    return tokens.admin_token(known.jwt)


def tenant_token(known: Secrets, tenant: TenantId) -> str:
    return tokens.tenant_token(known.jwt, tenant)


def make_tenant(gateway: str, known: Secrets, *, name: str, plan: str, workspace: Path) -> TenantId:
    """Create or update the tenant, and lay the sample project into its workspace. Raises httpx.HTTPError."""
    tenant = tokens.make_tenant(gateway, known.jwt, name=name, plan=plan)
    shutil.copytree(SAMPLE, workspace / str(tenant) / "sample", dirs_exist_ok=True)
    return tenant
