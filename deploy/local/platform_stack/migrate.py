"""Schema migrations: plain SQL files, run by yoyo."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from yoyo import get_backend, read_migrations
from yoyo.backends import DatabaseBackend
from yoyo.migrations import MigrationList

from platform_stack.processes import package_folder


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


def folder() -> Path:
    """Where the files are. Found, not imported: this tool does not depend on the server library."""
    return package_folder("platform_server") / "store" / "migrations"


def _migrations() -> MigrationList:
    return read_migrations(str(folder()))


@contextmanager
def _backend(dsn: str) -> Iterator[DatabaseBackend]:
    backend = get_backend(dsn.replace("postgresql://", "postgresql+psycopg://", 1))
    try:
        yield backend
    finally:
        backend.connection.close()
