"""Stacks for tests: on free ports, in folders of their own, and clients that come in by their gateways."""

import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from platform_stack import engines
from platform_stack.processes import free_port
from platform_stack.stack import Plan, Stack, install_scanners

SCANNERS = Path(__file__).parents[1] / ".local" / "scanners"

# Sooner than in production, so that nobody waits: who takes over a worker, who is back, what gauges say.
_PROMPT = {"LEASE_SECONDS": "3", "RETURN_INTERVAL_SECONDS": "0.5", "GAUGES_INTERVAL_SECONDS": "0.5"}


@contextmanager
def running_stack(*, agents: int = 0, replicas: int = 1, settings: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """``settings`` go to every service."""
    with tempfile.TemporaryDirectory(prefix="platform-e2e-", ignore_cleanup_errors=True) as folder:
        stack = Stack(
            Plan(
                folder=Path(folder),
                port=free_port(),
                scanners=SCANNERS,
                agents=agents,
                replicas=replicas,
                postgres=engines.THROW_AWAY,
                settings=_PROMPT | dict(settings or {}),
            )
        )
        install_scanners(SCANNERS, log=stack.logs / "scanners.log")
        stack.start()
        try:
            yield stack
        finally:
            stack.stop()


def client_of(stack: Stack, *, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """Without a limit of connections: the platform's limits are what is tested. ``address``: where it comes from."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    transport = httpx.AsyncHTTPTransport(limits=limits, local_address=address)
    return httpx.AsyncClient(base_url=stack.gateway, timeout=90, transport=transport, trust_env=False)


def own_address() -> str:
    """A loopback address that nobody else in the run has: what is done wrong there is counted against nobody else."""
    return f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"


def stranger(stack: Stack) -> httpx.AsyncClient:
    """A client at an address of its own."""
    return client_of(stack, address=own_address())
