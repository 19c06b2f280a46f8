"""Identifiers: UUIDv7 of RFC 9562, and the System Tenant."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from platform_core.domain.ids import SYSTEM_TENANT, tenant_id_of_name, uuid7

MILLISECONDS = st.integers(min_value=0, max_value=2**48 - 1)
RANDOM = st.integers(min_value=0, max_value=2**74 - 1)


def test_the_system_tenant_has_the_id_of_the_specification() -> None:
    assert str(SYSTEM_TENANT) == "00000000-0000-0000-0000-000000000001"


def test_uuid7_is_the_example_of_the_rfc() -> None:
    made = uuid7(unix_ms=0x017F22E279B0, random_bits=0xCC3 << 62 | 0x18C4DC0C0C07398F)
    assert made == UUID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")


@given(unix_ms=MILLISECONDS, random_bits=RANDOM)
def test_uuid7_carries_its_time_its_version_and_all_its_random_bits(unix_ms: int, random_bits: int) -> None:
    made = uuid7(unix_ms=unix_ms, random_bits=random_bits)
    assert made.int >> 80 == unix_ms
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert (made.int >> 64 & 0xFFF) << 62 | made.int & 2**62 - 1 == random_bits


@given(earlier=MILLISECONDS, later=MILLISECONDS, one=RANDOM, other=RANDOM)
def test_uuid7_sorts_by_time(earlier: int, later: int, one: int, other: int) -> None:
    if earlier < later:
        assert uuid7(unix_ms=earlier, random_bits=one) < uuid7(unix_ms=later, random_bits=other)


def test_a_tenants_name_always_gives_the_same_id() -> None:
    assert tenant_id_of_name("acme") == tenant_id_of_name("acme")
    assert tenant_id_of_name("acme") != tenant_id_of_name("umbrella")
    assert tenant_id_of_name("acme").version == 5
