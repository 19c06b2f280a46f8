"""A connection that explains every named statement before it runs it, and tells which tables were read whole."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import asyncpg

from platform_server.store.sql import load

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

# What the services' pools set and a plan depends on.
_SETTINGS = {"jit": "off", "max_parallel_workers_per_gather": "0"}


@dataclass(frozen=True, slots=True)
class Seen:
    """A statement that ran. ``milliseconds`` and ``buffers`` are those of its plan for these very arguments.

    ``scans``: what it read, and how. ``whole``: tables that were read whole, by it or by what its functions run, by
    this plan or by the one that was kept of it.
    """

    statement: str
    rows: int
    milliseconds: float
    buffers: int
    scans: tuple[str, ...]
    whole: frozenset[str]


class Watching(Connection):
    """Its statements run twice, and once of it is taken back: it must be in a transaction."""

    seen: list[Seen]

    async def fetch(self, query: str, *args: Any, **how: Any) -> Any:
        async with self._watched(query, args):
            return await super().fetch(query, *args, **how)

    async def fetchrow(self, query: str, *args: Any, **how: Any) -> Any:
        async with self._watched(query, args):
            return await super().fetchrow(query, *args, **how)

    async def fetchval(self, query: str, *args: Any, **how: Any) -> Any:
        async with self._watched(query, args):
            return await super().fetchval(query, *args, **how)

    async def execute(self, query: str, *args: Any, **how: Any) -> Any:
        async with self._watched(query, args):
            return await super().execute(query, *args, **how)

    @asynccontextmanager
    async def _watched(self, query: str, args: tuple[Any, ...]) -> AsyncIterator[None]:
        name = NAMES.get(query)
        if name is None:
            yield
            return
        before = await self._whole_reads()
        trial = self.transaction()
        await trial.start()
        text = await super().fetchval(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {query}", *args)
        await trial.rollback()
        yield
        after = await self._whole_reads()
        whole = {table for table, times in after.items() if times > before.get(table, 0)}
        self.seen.append(_seen(name, json.loads(text)[0], frozenset(whole)))

    async def _whole_reads(self) -> Mapping[str, int]:
        rows = await super().fetch("SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE seq_scan > 0")
        return {row["relname"]: row["seq_scan"] for row in rows}


@asynccontextmanager
async def watching(dsn: str) -> AsyncIterator[Watching]:
    conn = await asyncpg.connect(dsn, connection_class=Watching, server_settings=_SETTINGS)
    conn.seen = []
    try:
        yield conn
    finally:
        await conn.close()


async def large(conn: Connection, *, rows: int) -> Mapping[str, int]:
    """The tables with so many rows, by the planner's count."""
    found = await conn.fetch("SELECT relname, reltuples FROM pg_class WHERE relkind = 'r' AND reltuples >= $1", rows)
    return {row["relname"]: int(row["reltuples"]) for row in found}


def _names() -> Mapping[str, str]:
    tables = [
        entry.name.removesuffix(".sql")
        for entry in files("platform_server.store").iterdir()
        if entry.name.endswith(".sql")
    ]
    return {text: f"{table}.{name}" for table in tables for name, text in load(table).items()}


NAMES = _names()


def _seen(name: str, explained: Mapping[str, Any], whole: frozenset[str]) -> Seen:
    plan = explained["Plan"]
    scans = dict.fromkeys(scan for node in _nodes(plan) if (scan := _scan(node)) is not None)
    return Seen(
        statement=name,
        rows=int(plan["Actual Rows"]),
        milliseconds=explained["Execution Time"],
        buffers=plan.get("Shared Hit Blocks", 0) + plan.get("Shared Read Blocks", 0),
        scans=tuple(scans),
        whole=whole,
    )


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)


def _scan(node: Mapping[str, Any]) -> str | None:
    """How a table is read, in a word: its index's name, or that it is read whole; nothing of parts that never ran."""
    match node["Node Type"]:
        case _ if not node["Actual Loops"]:
            return None
        case "Index Scan" | "Index Only Scan" | "Bitmap Index Scan":
            return str(node["Index Name"])
        case "Seq Scan":
            return f"all of {node['Relation Name']}"
        case "Merge Append":
            return "merged in order"
        case "ModifyTable":
            return f"{node['Operation'].lower()} {node['Relation Name']}"
        case _:
            return None
