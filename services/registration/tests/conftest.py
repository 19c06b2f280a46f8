"""The service in process, on a Postgres and a Redis of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
import pytest
from httpx import AsyncClient

from platform_server.kit.serve import Runtime
from registration.app import create_app
from registration.settings import Settings
from world import JOB_TOKEN_KEYS, JWT_SECRET, bearer, in_process


@pytest.fixture
def settings(database: str, redis: str) -> Settings:
    return Settings(
        database_url=database, redis_url=redis, jwt_secret=JWT_SECRET, job_token_keys=JOB_TOKEN_KEYS, pool_size=5
    )


def serving(settings: Settings) -> AbstractAsyncContextManager[AsyncClient]:
    return in_process(create_app(settings, Runtime()))


@pytest.fixture
def serve(settings: Settings) -> Callable[..., AbstractAsyncContextManager[AsyncClient]]:
    """Starts one more instance, with some settings changed; gives a client of it, without credentials."""
    return lambda **changed: serving(msgspec.structs.replace(settings, **changed))


@pytest.fixture
async def public(settings: Settings) -> AsyncIterator[AsyncClient]:
    """A client without credentials."""
    async with serving(settings) as client:
        yield client


@pytest.fixture
async def admin(settings: Settings) -> AsyncIterator[AsyncClient]:
    """A client of another instance, with a platform administrator's token."""
    async with serving(settings) as client:
        client.headers["Authorization"] = f"Bearer {bearer()}"
        yield client


@pytest.fixture
def new_token(admin: AsyncClient) -> Callable[..., Awaitable[tuple[str, str]]]:
    """Makes a bootstrap token; gives its id and the raw token."""

    async def make(**asked: object) -> tuple[str, str]:
        made = await admin.post("/api/v1/admin/bootstrap-tokens", json=asked)
        assert made.status_code == 201, made.text
        return made.json()["token"]["id"], made.json()["raw_token"]

    return make


@pytest.fixture
def new_agent(admin: AsyncClient) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Makes an agent as an administrator; gives the answer."""

    async def make(**asked: object) -> dict[str, Any]:
        made = await admin.post("/api/v1/admin/platform-agents", json={"name": "scanner-1", **asked})
        assert made.status_code == 201, made.text
        answer: dict[str, Any] = made.json()
        return answer

    return make


@pytest.fixture
def application() -> Callable[..., dict[str, Any]]:
    """The body of the specification's example of a registration."""

    def write(raw_token: str, **other: object) -> dict[str, Any]:
        return {
            "bootstrap_token": raw_token,
            "name": "scanner-us-east-1-01",
            "capabilities": ["nuclei", "nmap", "subfinder"],
            "tools": ["nuclei", "nmap", "subfinder"],
            "region": "us-east-1",
            "max_concurrent": 10,
            "version": "1.0.0",
            **other,
        }

    return write
