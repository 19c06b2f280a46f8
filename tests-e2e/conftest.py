"""One stack for the whole run: real processes behind the real gateway, driven over HTTP."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from platform_stack import engines, tokens
from platform_stack.processes import free_port
from platform_stack.stack import Plan, Stack

SCANNERS = Path(__file__).parents[1] / ".local" / "scanners"


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Two replicas of every service and two real agents with bandit and semgrep."""
    with tempfile.TemporaryDirectory(prefix="platform-e2e-", ignore_cleanup_errors=True) as folder:
        running = Stack(
            Plan(
                folder=Path(folder),
                port=free_port(),
                scanners=SCANNERS,
                replicas=2,
                postgres=engines.THROW_AWAY,
                settings={"LEASE_SECONDS": "3"},
            )
        )
        running.start()
        yield running
        running.stop()


@pytest.fixture
async def gateway(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.gateway, timeout=90) as client:
        yield client


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
