"""Tenants and agents, made through the gateway as an administrator would."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

from cheap_http import Answer, Client

from platform_core.domain.ids import TenantId
from platform_stack import tokens
from platform_stack.stack import Stack

T = TypeVar("T")
R = TypeVar("R")

# Registration is no figure of ours: gently.
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Tenant:
    id: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Agent:
    id: str
    headers: dict[str, str]
    slots: int


class Door:
    """The gateway, and who may come in by it."""

    def __init__(self, stack: Stack) -> None:
        self.client = Client(stack.gateway)
        self._secrets = stack.secrets
        self._admin = {"Authorization": f"Bearer {tokens.admin_token(stack.secrets)}"}

    async def tenants(self, count: int, *, plan: str = "enterprise") -> list[Tenant]:
        return await at_once(lambda _: self._tenant(plan), range(count))

    async def agents(self, count: int, *, capability: str, slots: int) -> list[Agent]:
        """Their jobs are those that ask for the capability."""
        return await at_once(lambda _: self._agent(capability, slots), range(count))

    async def remove_agents(self, agents: Iterable[Agent]) -> None:
        async def remove(agent: Agent) -> None:
            path = f"/api/v1/admin/platform-agents/{agent.id}"
            checked(await self.client.request("DELETE", path, headers=self._admin), 204)

        await at_once(remove, agents)

    async def remove_tenants(self, tenants: Iterable[Tenant]) -> None:
        """Their jobs end with them."""

        async def remove(tenant: Tenant) -> None:
            path = f"/api/v1/admin/tenants/{tenant.id}"
            checked(await self.client.request("DELETE", path, headers=self._admin), 204)

        await at_once(remove, tenants)

    async def _tenant(self, plan: str) -> Tenant:
        tenant = TenantId(uuid4())
        body = {"name": f"bench {tenant}", "plan": plan}
        path = f"/api/v1/admin/tenants/{tenant}"
        checked(await self.client.request("PUT", path, headers=self._admin, body=body), 201)
        return Tenant(str(tenant), {"Authorization": f"Bearer {tokens.tenant_token(self._secrets, tenant)}"})

    async def _agent(self, capability: str, slots: int) -> Agent:
        body = {
            "name": f"bench-{uuid4()}",
            "region": "bench",
            "capabilities": [capability],
            "max_concurrent": slots,
        }
        path = "/api/v1/admin/platform-agents"
        made = checked(await self.client.request("POST", path, headers=self._admin, body=body), 201)
        return Agent(made["agent"]["id"], {"X-API-Key": made["api_key"]}, slots)


async def at_once(do: Callable[[T], Awaitable[R]], things: Iterable[T]) -> list[R]:
    """Do it to each, a few at a time."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(thing: T) -> R:
        async with room:
            return await do(thing)

    return await asyncio.gather(*(one(thing) for thing in things))


def checked(answer: Answer, status: int) -> Any:
    """What a success says."""
    if answer.status != status:
        raise RuntimeError(f"{status} was expected, not {answer.status}: {answer.body.decode()}")
    return answer.json() if answer.body else None
