"""What administrators did, and from where. Rows are only ever added."""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

import msgspec

from platform_core.domain.ids import UserId
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("audit")


async def write(
    conn: Conn,
    *,
    user: UserId,
    action: str,
    subject: str,
    address: IPv4Address | IPv6Address,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Add a row, in the transaction of what it tells of. ``subject``: the id of the thing that was acted on."""
    encoded = None if detail is None else msgspec.json.encode(detail).decode()
    await conn.execute(SQL["write"], user, action, subject, address, encoded)
