"""Schema migrations: plain SQL files, run by yoyo."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg
from yoyo import get_backend, read_migrations
from yoyo.backends import DatabaseBackend
from yoyo.migrations import MigrationList


class Unmigrated(Exception):
    """The schema did not become what this code needs; the text names what is missing."""


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    applied: bool


def up(dsn: str) -> int:
    """Apply what is missing; returns how many that were. Replicas may call it at once: yoyo takes a lock."""
    with _backend(dsn) as backend, backend.lock(timeout=60):
        missing = backend.to_apply(_migrations())
        backend.apply_migrations(missing)
        return len(missing)


def down(dsn: str, *, steps: int = 1) -> int:
    """Roll the latest ``steps`` back; returns how many were."""
    with _backend(dsn) as backend, backend.lock(timeout=60):
        latest = backend.to_rollback(_migrations())[:steps]
        backend.rollback_migrations(latest)
        return len(latest)


def status(dsn: str) -> list[Migration]:
    """Every migration in its order."""
    with _backend(dsn) as backend:
        missing = {migration.id for migration in backend.to_apply(_migrations())}
        return [Migration(migration.id, migration.id not in missing) for migration in _migrations()]


def wait(dsn: str, *, seconds: float = 600.0) -> None:
    """Until nothing is missing, while another applies it. Only reads. Raises Unmigrated when it takes too long."""
    deadline = time.monotonic() + seconds
    while missing := _missing(dsn):
        if time.monotonic() > deadline:
            raise Unmigrated(f"missing: {', '.join(sorted(missing))}")
        time.sleep(1)


def _missing(dsn: str) -> set[str]:
    """Read without yoyo, which would make its tables at the same time as who applies."""
    ours = {migration.id for migration in _migrations()}
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            rows = connection.execute("SELECT migration_id FROM _yoyo_migration").fetchall()
    except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
        return ours
    return ours - {row[0] for row in rows}


def carry_out(direction: str, dsn: str) -> str:
    """``up``, ``down`` by one, ``status`` or ``wait`` for another's ``up``; what to tell. Raises Unmigrated."""
    match direction:
        case "wait":
            wait(dsn)
            return "nothing is missing"
        case "up":
            return f"{up(dsn)} applied"
        case "down":
            return f"{down(dsn)} rolled back"
        case _:
            return "\n".join(f"{'applied' if each.applied else 'missing':<8} {each.name}" for each in status(dsn))


def folder() -> Path:
    """Where the files are. Found, not imported: a migration needs no line of the server library."""
    spec = find_spec("platform_server")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "store" / "migrations"


def _migrations() -> MigrationList:
    return read_migrations(str(folder()))


@contextmanager
def _backend(dsn: str) -> Iterator[DatabaseBackend]:
    backend = get_backend(dsn.replace("postgresql://", "postgresql+psycopg://", 1))
    try:
        yield backend
    finally:
        backend.connection.close()
