"""Every named statement is understood by the migrated schema."""

from importlib.resources import files

import pytest

from platform_server.store.connection import Conn
from platform_server.store.sql import load

TABLES = sorted(
    entry.name.removesuffix(".sql") for entry in files("platform_server.store").iterdir() if entry.name.endswith(".sql")
)
STATEMENTS = [(table, name) for table in TABLES for name in load(table)]


@pytest.mark.parametrize(("table", "name"), STATEMENTS, ids=[f"{table}.{name}" for table, name in STATEMENTS])
async def test_a_statement_is_prepared_against_the_migrated_schema(conn: Conn, table: str, name: str) -> None:
    await conn.prepare(load(table)[name])
