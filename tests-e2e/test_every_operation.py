"""Every call of the HTTP contract succeeds through the gateway, with a status that its document names."""

from collections.abc import Mapping
from uuid import uuid4

import pytest
import pytest_asyncio
from driving import Body, Platform, bearer, eventually, lane
from stacks import client_of, own_address

from platform_core.domain.ids import TenantId
from platform_core.wire import operations
from platform_core.wire.openapi import Operation
from platform_stack import tokens
from platform_stack.stack import Stack

NAMED = {operation.name: operation for operation in operations.EVERYTHING}

Headers = Mapping[str, str]


class Walk:
    """Sends calls by their names in the contract, and remembers which ones it has seen succeed."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.seen: set[str] = set()

    async def call(self, name: str, headers: Headers | None = None, body: object = None, **path: str) -> Body:
        """The answer's body; empty when it is none, or no JSON."""
        operation = NAMED[name]
        address = operation.path.format(**path)
        http = self.platform.http
        async with http.stream(operation.method.value, address, headers=headers, json=body) as answer:
            assert answer.status_code in operation.answers, f"{name}: {answer.status_code}"
            self.seen.add(name)
            if answer.status_code == 204:
                return {}
            assert answer.headers["content-type"].partition(";")[0] == operation.media_type
            if operation.media_type != "application/json":
                return {}
            await answer.aread()
            read: Body = answer.json()
            return read


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(stack: Stack) -> set[str]:
    """The calls that succeeded on a walk through the whole contract."""
    async with client_of(stack) as client:
        walk = Walk(Platform(stack, client))
        await walk.call("openapi_document")
        await walk.call("documentation")
        await bootstrap_tokens(walk)
        await tenants_jobs_and_agents(walk)
        await bans(walk)
        return walk.seen


@pytest.mark.parametrize("operation", operations.EVERYTHING, ids=lambda call: f"{call.method.value} {call.path}")
def test_a_call_of_the_contract_succeeds_with_a_status_of_its_document(operation: Operation, seen: set[str]) -> None:
    assert operation.name in seen


async def bootstrap_tokens(walk: Walk) -> None:
    admin = walk.platform.admin
    created = await walk.call("create_bootstrap_token", admin, {})
    number = created["token"]["id"]
    await walk.call("list_bootstrap_tokens", admin)
    await walk.call("register_agent", None, {"bootstrap_token": created["raw_token"], "name": f"agent-{uuid4()}"})
    assert len((await walk.call("list_registrations", admin, id=number))["registrations"]) == 1
    assert (await walk.call("revoke_bootstrap_token", admin, id=number))["token"]["status"] == "revoked"


async def tenants_jobs_and_agents(walk: Walk) -> None:
    admin, tenant = walk.platform.admin, TenantId(uuid4())
    await walk.call("put_tenant", admin, {"name": "walk", "plan": "pro"}, id=str(tenant))
    await walk.call("get_tenant", admin, id=str(tenant))
    await walk.call("list_tenants", admin)
    await jobs(walk, bearer(tokens.tenant_token(walk.platform.stack.secrets, tenant)))
    await walk.call("delete_tenant", admin, id=str(tenant))


async def jobs(walk: Walk, tenant: Headers) -> None:
    """A job that is handed back, then fails, is tried again, and then cancelled."""
    admin, capability = walk.platform.admin, lane()
    made = await walk.call("create_agent", admin, {"name": f"agent-{uuid4()}", "capabilities": [capability]})
    agent, number = {"X-API-Key": made["api_key"]}, made["agent"]["id"]
    submission = {"type": "health_check", "payload": {}, "capabilities": [capability]}
    job = (await walk.call("submit_job", tenant, submission))["job"]["id"]
    (polled,) = (await walk.call("poll", agent))["jobs"]
    await walk.call("release_job", {**agent, "X-Job-Token": polled["auth_token"]}, id=job)
    (polled,) = (await walk.call("poll", agent))["jobs"]
    both = {**agent, "X-Job-Token": polled["auth_token"]}
    await walk.call("acknowledge_job", both, id=job)
    await walk.call("report_progress", both, {"progress": 50}, id=job)
    await walk.call("agent_events", agent)
    await walk.call("heartbeat", agent, {"running_jobs": [job]})
    await walk.call("submit_result", both, {"status": "failed", "error": "the disk is full"}, id=job)
    again = (await walk.call("retry_job", tenant, id=job))["job"]["id"]
    await walk.call("cancel_job", tenant, id=again)
    await walk.call("list_jobs", tenant)
    assert (await walk.call("get_job", tenant, id=job))["job"]["error"] == "the disk is full"
    await walk.call("queue_stats", admin)
    await agents(walk, agent, number)


async def agents(walk: Walk, agent: Headers, number: str) -> None:
    admin = walk.platform.admin
    await walk.call("list_agents", admin)
    await walk.call("agent_stats", admin)
    await walk.call("get_agent", admin, id=number)
    await walk.call("drain_agent", admin, id=number)
    await walk.call("enable_agent", admin, id=number)
    await walk.call("disable_agent", admin, id=number)
    await walk.call("enable_agent", admin, id=number)
    await walk.call("rotate_agent_key", admin, id=number)
    await walk.call("delete_agent", admin, id=number)


async def bans(walk: Walk) -> None:
    """An address that is banned, and then no more."""
    address = own_address()
    async with client_of(walk.platform.stack, address=address) as client:
        guess = {"bootstrap_token": "abc123.0123456789abcdef", "name": "guesser"}
        while (await client.post(NAMED["register_agent"].path, json=guess)).status_code == 401:
            pass

    async def listed() -> str | None:
        told = (await walk.call("list_banned_ips", walk.platform.admin))["banned_ips"]
        return next((ban["ip"] for ban in told if ban["ip"] == address), None)

    await walk.call("lift_ban", walk.platform.admin, ip=await eventually(listed))
