"""The one place that asks the machine for the time and for randomness. Deadlines are Postgres' business, not ours."""

import secrets
import time
from datetime import UTC, datetime
from uuid import UUID

from platform_core.domain.ids import uuid7


def now() -> datetime:
    return datetime.now(UTC)


def new_id() -> UUID:
    """A fresh UUIDv7."""
    return uuid7(unix_ms=time.time_ns() // 1_000_000, random_bits=secrets.randbits(74))
