"""The service in process, on a Postgres and a Redis of its own."""

from collections.abc import AsyncIterator

import msgspec
import pytest
from httpx import AsyncClient
from redis.asyncio import Redis
from submitting import NewTenant, Serve, Tenant

from job_intake.app import create_app
from job_intake.settings import Settings
from platform_server.kit.serve import Runtime
from platform_server.signals.connection import connect
from world import JOB_TOKEN_KEYS, JWT_SECRET, World, in_process


@pytest.fixture
def settings(database: str, redis: str) -> Settings:
    return Settings(
        database_url=database, redis_url=redis, jwt_secret=JWT_SECRET, job_token_keys=JOB_TOKEN_KEYS, pool_size=5
    )


@pytest.fixture
def serve(settings: Settings) -> Serve:
    """Starts one more instance, with some settings changed; gives a client of it, without credentials."""
    return lambda **changed: in_process(create_app(msgspec.structs.replace(settings, **changed), Runtime()))


@pytest.fixture
async def http(serve: Serve) -> AsyncIterator[AsyncClient]:
    """A client without credentials."""
    async with serve() as client:
        yield client


@pytest.fixture
def new_tenant(world: World, http: AsyncClient) -> NewTenant:
    fallback = http

    async def make(plan: str = "enterprise", *, http: AsyncClient | None = None) -> Tenant:
        tenant = await world.tenant()
        await world.execute("UPDATE tenants SET plan = $2 WHERE id = $1", tenant, plan)
        return Tenant(tenant, http or fallback)

    return make


@pytest.fixture
async def tenant(new_tenant: NewTenant) -> Tenant:
    return await new_tenant()


@pytest.fixture
async def client(redis: str) -> AsyncIterator[Redis]:
    async with connect(redis) as opened:
        yield opened
