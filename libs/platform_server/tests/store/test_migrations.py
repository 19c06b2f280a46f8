"""The schema: up from nothing, every step down and up again, the specification's columns, and what it must refuse."""

from collections.abc import Iterator
from itertools import count
from typing import Any, LiteralString
from uuid import uuid4

import asyncpg
import psycopg
import pytest

from platform_core.domain.ids import SYSTEM_TENANT
from platform_core.domain.plans import PLANS
from platform_ops import migrate
from platform_server.kit.clock import new_id
from platform_server.store.connection import Conn

_numbers = count(1)

# Whatever of the public schema a statement could run into; yoyo's own tables apart.
CATALOGUE: dict[str, LiteralString] = {
    "columns": """
        SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default, is_identity
        FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name !~ '^_?yoyo'
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text !~ '^_?yoyo'
    """,
    "indexes": "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename !~ '^_?yoyo'",
    "functions": "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
    "storage": """
        SELECT relname, reloptions
        FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname !~ '^_?yoyo'
    """,
}
SEEDS: LiteralString = """
    SELECT to_jsonb(plans)::text FROM plans UNION SELECT (to_jsonb(tenants) - 'created_at' - 'updated_at')::text
    FROM tenants
    ORDER BY 1
"""


def schema(dsn: str) -> dict[str, list[Any]]:
    with psycopg.connect(dsn) as connection:
        told = {name: sorted(connection.execute(text).fetchall(), key=repr) for name, text in CATALOGUE.items()}
        return told | {"seeds": connection.execute(SEEDS).fetchall() if told["columns"] else []}


@pytest.fixture
def empty(postgres: Any) -> Iterator[str]:
    """The DSN of a database without a schema."""
    name = f"migrations_{next(_numbers)}"
    postgres.execute(f"CREATE DATABASE {name}")
    yield postgres.dsn(name)
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_every_step_down_and_up_again_leaves_the_same_schema(empty: str) -> None:
    nothing = schema(empty)
    steps = migrate.up(empty)
    assert steps == len(migrate.status(empty))
    full = schema(empty)
    for depth in range(1, steps + 1):
        assert migrate.down(empty, steps=depth) == depth
        if depth == steps:
            assert schema(empty) == nothing
        assert migrate.up(empty) == depth
        assert schema(empty) == full
    assert migrate.up(empty) == 0


SPECIFIED = {
    "agents": {"is_platform_agent": "boolean", "region": "character varying(50)"},
    "bootstrap_tokens": {
        "id": "uuid",
        "token_hash": "character varying(64)",
        "token_prefix": "character varying(10)",
        "description": "text",
        "status": "character varying(20)",
        "max_uses": "integer",
        "current_uses": "integer",
        "required_capabilities": "text[]",
        "required_tools": "text[]",
        "required_region": "character varying(50)",
        "expires_at": "timestamp with time zone",
        "created_by": "uuid",
        "revoked_by": "uuid",
        "revoked_at": "timestamp with time zone",
        "revoke_reason": "text",
        "created_at": "timestamp with time zone",
        "updated_at": "timestamp with time zone",
    },
    "commands": {
        "is_platform_job": "boolean",
        "platform_agent_id": "uuid",
        "queued_at": "timestamp with time zone",
        "queue_priority": "integer",
        "auth_token_hash": "character varying(64)",
        "auth_token_expires_at": "timestamp with time zone",
        "retry_count": "integer",
    },
}
DEFAULTS = {
    ("agents", "is_platform_agent"): "false",
    ("bootstrap_tokens", "status"): "'active'::character varying",
    ("bootstrap_tokens", "max_uses"): "1",
    ("bootstrap_tokens", "current_uses"): "0",
    ("bootstrap_tokens", "created_at"): "now()",
    ("bootstrap_tokens", "updated_at"): "now()",
    ("commands", "is_platform_job"): "false",
    ("commands", "queue_priority"): "0",
    ("commands", "retry_count"): "0",
}
REFERENCES = {
    ("bootstrap_tokens", "created_by"): "users",
    ("bootstrap_tokens", "revoked_by"): "users",
    ("commands", "platform_agent_id"): "agents",
}
NOT_NULL = {"id", "token_hash", "token_prefix", "expires_at"}


async def columns(conn: Conn, table: str) -> dict[str, asyncpg.Record]:
    rows = await conn.fetch(
        "SELECT attname AS name, format_type(atttypid, atttypmod) AS type, attnotnull AS not_null,"
        " pg_get_expr(adbin, adrelid) AS default"
        " FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
        " WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
        table,
    )
    return {row["name"]: row for row in rows}


@pytest.mark.parametrize(
    ("table", "column", "kind"),
    [(table, column, kind) for table, columns in SPECIFIED.items() for column, kind in columns.items()],
)
async def test_a_column_is_that_of_the_specification(conn: Conn, table: str, column: str, kind: str) -> None:
    there = (await columns(conn, table))[column]
    assert there["type"] == kind
    assert there["default"] == DEFAULTS.get((table, column))
    assert there["not_null"] is (table == "bootstrap_tokens" and column in NOT_NULL)


async def test_bootstrap_tokens_have_the_columns_of_the_specification_and_no_other(conn: Conn) -> None:
    assert set(await columns(conn, "bootstrap_tokens")) == set(SPECIFIED["bootstrap_tokens"])


async def test_the_references_are_those_of_the_specification(conn: Conn) -> None:
    rows = await conn.fetch(
        "SELECT conrelid::regclass::text AS table, attname AS column, confrelid::regclass::text AS refers_to"
        " FROM pg_constraint JOIN pg_attribute ON attrelid = conrelid AND attnum = ANY (conkey)"
        " WHERE contype = 'f'"
    )
    there = {(row["table"], row["column"]): row["refers_to"] for row in rows}
    assert there.items() >= REFERENCES.items()


async def test_the_specified_fields_come_with_migrations_80_and_81() -> None:
    texts = {path.stem: path.read_text() for path in migrate.folder().glob("00008[01]_*.sql")}
    assert "ALTER TABLE agents ADD COLUMN is_platform_agent BOOLEAN DEFAULT FALSE;" in texts["000080_platform_agents"]
    assert "CREATE TABLE bootstrap_tokens (" in texts["000080_platform_agents"]
    for name in SPECIFIED["commands"]:
        assert f"ALTER TABLE commands ADD COLUMN {name} " in texts["000081_platform_jobs"]


async def test_plans_are_seeded_as_the_specifications_table(conn: Conn) -> None:
    rows = await conn.fetch("SELECT name, max_concurrent_jobs, max_queue_size FROM plans")
    assert {tuple(row) for row in rows} == {
        ("free", 2, 10),
        ("starter", 5, 50),
        ("pro", 10, 100),
        ("enterprise", 50, 500),
    }
    assert {tuple(row) for row in rows} == {(p.name, p.max_concurrent_jobs, p.max_queue_size) for p in PLANS.values()}


async def test_the_system_tenant_is_there(conn: Conn) -> None:
    assert str(await conn.fetchval("SELECT id FROM tenants WHERE is_system")) == "00000000-0000-0000-0000-000000000001"


NEVER = {
    "an ordinary tenant with the System Tenant's id": """
        INSERT INTO tenants (id, name, plan) VALUES ('00000000-0000-0000-0000-000000000001', 'acme', 'free')
        ON CONFLICT (id) DO UPDATE SET is_system = false
    """,
    "a second System Tenant": "INSERT INTO tenants (id, name, plan, is_system) VALUES ({new}, 'acme', 'free', true)",
    "the System Tenant under another id": "UPDATE tenants SET id = {new} WHERE is_system",
    "a tenant of no plan": "UPDATE tenants SET plan = 'gold'",
    "a tenant of no such status": "UPDATE tenants SET status = 'gone'",
    "a plan without concurrent jobs": "UPDATE plans SET max_concurrent_jobs = 0",
    "a plan without a queue": "UPDATE plans SET max_queue_size = 0",
    "a platform agent of a tenant": "UPDATE agents SET tenant_id = (SELECT id FROM tenants WHERE NOT is_system)",
    "two live agents of a name": """
        INSERT INTO agents (id, tenant_id, name) SELECT {new}, tenant_id, name FROM agents
    """,
    "an agent without slots": "UPDATE agents SET max_concurrent = 0",
    "an agent with too many slots": "UPDATE agents SET max_concurrent = 101",
    "an agent of 51 capabilities": "UPDATE agents SET capabilities = array_fill('a'::text, ARRAY[51])",
    "a key that is no hash": "INSERT INTO agent_keys SELECT 'rdv_agent_secret', id, 'rdv_agent_' FROM agents",
    "a job of no such type": "UPDATE commands SET type = 'shell'",
    "a job of no such priority": "UPDATE commands SET priority = 'urgent'",
    "a job of no such state": "UPDATE commands SET status = 'paused'",
    "a scan without a tool": "UPDATE commands SET tool = NULL",
    "a job that is over and has not ended": "UPDATE commands SET status = 'cancelled'",
    "a job that has ended and is not over": "UPDATE commands SET completed_at = now()",
    "a queued job that was never queued": "UPDATE commands SET queued_at = NULL",
    "a queued job that takes a slot": "UPDATE commands SET slot_held = true",
    "a held job without an agent": "UPDATE commands SET status = 'assigned'",
    "a payload over 1 MB": "UPDATE commands SET payload = to_json(repeat('a', 1048575))",
    "a timeout over 2 hours": "UPDATE commands SET timeout_seconds = 7201",
    "no timeout": "UPDATE commands SET timeout_seconds = 0",
    "more than all of it done": "UPDATE commands SET progress = 101",
    "a negative retry": "UPDATE commands SET retry_count = -1",
    "a negative attempt": "UPDATE commands SET attempt = -1",
    "a job of no tenant": "UPDATE commands SET tenant_id = {new}",
    "a token used more than it may be": "UPDATE bootstrap_tokens SET current_uses = 3",
    "a token of 101 uses": "UPDATE bootstrap_tokens SET max_uses = 101",
    "a token of no use": "UPDATE bootstrap_tokens SET max_uses = 0",
    "a token that is exhausted with uses left": "UPDATE bootstrap_tokens SET status = 'exhausted'",
    "a token that is revoked at no time": "UPDATE bootstrap_tokens SET status = 'revoked'",
    "a token of no such status": "UPDATE bootstrap_tokens SET status = 'lost'",
    "a token beyond 168 hours": "UPDATE bootstrap_tokens SET expires_at = created_at + interval '170 hours'",
    "a token below an hour": "UPDATE bootstrap_tokens SET expires_at = created_at + interval '50 minutes'",
    "two tokens of a hash": """
        INSERT INTO bootstrap_tokens (id, token_hash, token_prefix, expires_at)
        SELECT {new}, token_hash, token_prefix, expires_at FROM bootstrap_tokens
    """,
    "a second fleet": "INSERT INTO fleet (mean_seconds) VALUES (1)",
}


async def some_of_everything(conn: Conn) -> None:
    """A tenant, a platform agent, a queued job and a token."""
    tenant = uuid4()
    await conn.execute("INSERT INTO tenants (id, name, plan) VALUES ($1, 'acme', 'free')", tenant)
    await conn.execute(
        "INSERT INTO agents (id, tenant_id, name, is_platform_agent) VALUES ($1, $2, 'scanner-1', true)",
        new_id(), SYSTEM_TENANT,
    )  # fmt: skip
    await conn.execute(
        "INSERT INTO commands (id, tenant_id, type, priority, status, payload, tool, queued_at)"
        " VALUES ($1, $2, 'scan', 'normal', 'queued', '{}', 'nuclei', now())",
        new_id(), tenant,
    )  # fmt: skip
    await conn.execute(
        "INSERT INTO bootstrap_tokens (id, token_hash, token_prefix, max_uses, expires_at)"
        " VALUES ($1, $2, 'abc123', 2, now() + interval '24 hours')",
        new_id(), "a" * 64,
    )  # fmt: skip


@pytest.mark.parametrize("statement", NEVER.values(), ids=NEVER)
async def test_the_schema_refuses(conn: Conn, statement: str) -> None:
    await some_of_everything(conn)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await conn.execute(statement.replace("{new}", f"'{new_id()}'"))


async def test_a_payload_of_1_mb_is_taken(conn: Conn) -> None:
    await some_of_everything(conn)
    await conn.execute("UPDATE commands SET payload = to_json(repeat('a', 1048574))")
