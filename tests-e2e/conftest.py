"""Two stacks for the whole run: real processes behind the real gateway, driven over HTTP."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from driving import Platform
from stacks import client_of, running_stack

from platform_stack import tokens
from platform_stack.stack import Stack

# An agent says that a scan goes on every ten seconds: silence must be longer.
_SHORT_DEADLINES = {
    "STALE_AFTER_SECONDS": "12",
    "SILENCE_SECONDS": "12",
    "ACK_DEADLINE_SECONDS": "3",
    "CHECK_INTERVAL_SECONDS": "0.5",
    "RECOVERY_INTERVAL_SECONDS": "0.5",
}


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Two replicas of every service and two real agents with bandit and semgrep. Nobody stops anything of it."""
    with running_stack(agents=2, replicas=2) as running:
        yield running


@pytest.fixture(scope="session")
def fragile_stack() -> Iterator[Stack]:
    """One replica of every service and no agent. Tests break it, and mend what they broke."""
    with running_stack(settings=_SHORT_DEADLINES) as running:
        yield running


@pytest.fixture
async def gateway(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(stack) as client:
        yield client


@pytest.fixture
def platform(stack: Stack, gateway: httpx.AsyncClient) -> Platform:
    return Platform(stack, gateway)


@pytest.fixture
async def fragile(fragile_stack: Stack) -> AsyncIterator[Platform]:
    async with client_of(fragile_stack) as client:
        yield Platform(fragile_stack, client)


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
