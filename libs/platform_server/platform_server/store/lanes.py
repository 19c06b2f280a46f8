"""Requirements and lanes, interned: a job is queued in the lane of its tenant, base priority and requirement."""

from collections.abc import Sequence

import msgspec

from platform_core.domain.ids import TenantId
from platform_core.domain.scheduling import Requirement
from platform_server.store.connection import Conn
from platform_server.store.sql import load

SQL = load("lanes")

Wanted = tuple[TenantId, Requirement, int]


async def intern(conn: Conn, wanted: Sequence[Wanted]) -> list[int]:
    """The lane of each (tenant, requirement, base), in the order asked for; lanes that were missing are made.

    Looks before it inserts: nearly every lane exists, and an insert that conflicts still burns an id.
    """
    columns = _columns(wanted)
    found = await conn.fetch(SQL["find"], *columns)
    if len(found) < len(wanted):
        await conn.execute(SQL["intern_requirements"], *columns[1:4])
        await conn.execute(SQL["intern_lanes"], *columns)
        found = await conn.fetch(SQL["find"], *columns)
    return [row["id"] for row in found]


def _columns(wanted: Sequence[Wanted]) -> tuple[list[TenantId], list[str], list[str], list[str], list[int]]:
    return (
        [tenant for tenant, _, _ in wanted],
        [msgspec.json.encode(sorted(r.capabilities)).decode() for _, r, _ in wanted],
        [r.tool or "" for _, r, _ in wanted],
        [r.preferred_region or "" for _, r, _ in wanted],
        [base for _, _, base in wanted],
    )
