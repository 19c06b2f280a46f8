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
    requirements = await _find_or_make(conn, "requirements", _columns([r for _, r, _ in wanted]))
    keys = ([t for t, _, _ in wanted], requirements, [base for _, _, base in wanted])
    return await _find_or_make(conn, "lanes", keys)


def _columns(requirements: Sequence[Requirement]) -> tuple[list[str], list[str], list[str]]:
    return (
        [msgspec.json.encode(sorted(r.capabilities)).decode() for r in requirements],
        [r.tool or "" for r in requirements],
        [r.preferred_region or "" for r in requirements],
    )


async def _find_or_make(conn: Conn, table: str, columns: Sequence[Sequence[object]]) -> list[int]:
    found = await conn.fetch(SQL[f"find_{table}"], *columns)
    if len(found) < len(columns[0]):
        await conn.execute(SQL[f"intern_{table}"], *columns)
        found = await conn.fetch(SQL[f"find_{table}"], *columns)
    return [row["id"] for row in found]
