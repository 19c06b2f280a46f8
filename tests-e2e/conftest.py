"""One stack for most of the run: real processes behind the real gateway, driven over HTTP."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from driving import Platform
from stacks import client_of, running_stack

from platform_stack import tokens
from platform_stack.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Two replicas of every service and two real agents with bandit and semgrep. Nobody stops anything of it."""
    with running_stack(agents=2, replicas=2) as running:
        yield running


@pytest.fixture
async def gateway(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(stack) as client:
        yield client


@pytest.fixture
def platform(stack: Stack, gateway: httpx.AsyncClient) -> Platform:
    return Platform(stack, gateway)


@pytest.fixture
def admin_token(stack: Stack) -> str:
    return tokens.admin_token(stack.secrets)


@pytest.fixture
def tenant_token(stack: Stack, request: pytest.FixtureRequest) -> str:
    """A tenant of this test's own, on the largest plan."""
    tenant = tokens.make_tenant(
        stack.gateway, stack.secrets, name=request.node.name, plan="enterprise", workspace=stack.workspace
    )
    return tokens.tenant_token(stack.secrets, tenant)
