"""Fixtures for every test: real Postgres and Redis, from Docker when an engine answers, embedded otherwise."""

import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psycopg
import pytest
from redis.asyncio import Redis

from platform_ops import migrate
from platform_server.store.connection import Conn, Pool, open_pool
from platform_stack import engines
from platform_stack.processes import free_port
from world import World

TEMPLATE = "migrated"


@dataclass(frozen=True)
class Cluster:
    """A Postgres of the tests' own; ``admin`` is the DSN of its maintenance database."""

    admin: str

    def dsn(self, database: str) -> str:
        return urlunsplit(urlsplit(self.admin)._replace(path=f"/{database}"))

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(statement.encode())


def docker_answers() -> bool:
    """Does a Docker engine answer at its socket?"""
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    with socket.socket(socket.AF_UNIX) as engine:
        engine.settimeout(2)
        try:
            engine.connect(address.removeprefix("unix://"))
            engine.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in engine.recv(64)
        except OSError:
            return False


def in_memory() -> str | None:
    """A folder in memory with room for databases, where there is one: on a disk each test would wait for its clone."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 4 * 2**30 else None


@pytest.fixture(scope="session")
def in_docker() -> bool:
    return docker_answers()


@pytest.fixture(scope="session")
def postgres(in_docker: bool) -> Iterator[Cluster]:
    if in_docker:
        from testcontainers.postgres import PostgresContainer

        with PostgresContainer("postgres:18", driver=None) as container:
            yield Cluster(container.get_connection_url())
        return
    with tempfile.TemporaryDirectory(prefix="platform-postgres-", dir=in_memory()) as folder:
        server = engines.Postgres(Path(folder), free_port(), settings=engines.THROW_AWAY)
        server.start()
        yield Cluster(server.dsn())
        server.stop()


@pytest.fixture(scope="session")
def redis_server(in_docker: bool) -> Iterator[str]:
    """The address of a Redis of the tests' own."""
    if in_docker:
        from testcontainers.redis import RedisContainer

        with RedisContainer("redis:7") as container:
            yield f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}/0"
        return
    with tempfile.TemporaryDirectory(prefix="platform-redis-") as folder:
        server = engines.Redis(Path(folder), free_port())
        server.start()
        yield server.url
        server.stop()


@pytest.fixture(scope="session")
def template(postgres: Cluster) -> Cluster:
    """The cluster, with a migrated database to clone."""
    postgres.execute(f"CREATE DATABASE {TEMPLATE}")
    migrate.up(postgres.dsn(TEMPLATE))
    postgres.execute("CREATE DATABASE shared TEMPLATE migrated")
    return postgres


_numbers = count(1)


@pytest.fixture
def database(template: Cluster) -> Iterator[str]:
    """The DSN of a migrated database of this test's own: for races and pools."""
    name = f"test_{next(_numbers)}"
    template.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    yield template.dsn(name)
    template.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def pool(database: str) -> AsyncIterator[Pool]:
    async with open_pool(database, size=10, name="tests") as opened:
        yield opened


@pytest.fixture
def world(pool: Pool) -> World:
    """Tenants, agents and jobs in a database of the test's own."""
    return World(pool)


@pytest.fixture
async def conn(template: Cluster) -> AsyncIterator[Conn]:
    """A connection in a transaction that is rolled back."""
    connection = await asyncpg.connect(template.dsn("shared"))
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


@pytest.fixture
async def redis(redis_server: str) -> str:
    """The address of an empty Redis."""
    client = Redis.from_url(redis_server)
    await client.flushall()
    await client.aclose()
    return redis_server
