"""Identifiers. Those that we make are UUIDv7, so they sort by the time they were made; a tenant's id is any UUID."""

from typing import NewType
from uuid import UUID, uuid5

JobId = NewType("JobId", UUID)
TenantId = NewType("TenantId", UUID)
AgentId = NewType("AgentId", UUID)
TokenId = NewType("TokenId", UUID)
UserId = NewType("UserId", UUID)

SYSTEM_TENANT = TenantId(UUID("00000000-0000-0000-0000-000000000001"))
"""Owns every platform agent; no ordinary tenant has this id (specification, "System Tenant")."""

_TENANT_NAMES = UUID("5f0e1b4c-8a57-5b52-9f0e-3f6f0c1d2a77")


def uuid7(*, unix_ms: int, random_bits: int) -> UUID:
    """A UUIDv7 (RFC 9562) of milliseconds since the epoch and 74 random bits."""
    rand_a, rand_b = random_bits >> 62 & 0xFFF, random_bits & (1 << 62) - 1
    return UUID(int=(unix_ms & (1 << 48) - 1) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b)


def tenant_id_of_name(name: str) -> TenantId:
    """The UUIDv5 of a tenant's name, for places that have no identity provider: the local stack."""
    return TenantId(uuid5(_TENANT_NAMES, name))
