"""Administrators, tenants and agents as they come in by the gateway; nothing here knows another door."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx

from platform_core.domain.ids import TenantId
from platform_stack import tokens
from platform_stack.stack import Stack

Body = dict[str, Any]
T = TypeVar("T")

# Beyond it a test has failed; a loaded machine is slow, not wrong.
PATIENCE_SECONDS = 20.0


def lane() -> str:
    """A capability that nobody else in the run has: its jobs go to its agents only."""
    return f"only-{uuid4().hex[:16]}"


@dataclass(frozen=True)
class Platform:
    """The platform through its gateway. Each caller has a name of its own, so that tests can share a stack."""

    stack: Stack
    http: httpx.AsyncClient

    @property
    def admin(self) -> Mapping[str, str]:
        return bearer(tokens.admin_token(self.stack.secrets))

    async def tenant(self, plan: str = "enterprise", *, status: str = "active") -> "Tenant":
        tenant = TenantId(uuid4())
        body = {"name": f"tenant {tenant}", "plan": plan, "status": status}
        made = await self.http.put(f"/api/v1/admin/tenants/{tenant}", headers=self.admin, json=body)
        assert made.status_code == 201, made.text
        return Tenant(self.http, tenant, bearer(tokens.tenant_token(self.stack.secrets, tenant)))

    async def agent(self, *capabilities: str, **fields: object) -> "Agent":
        """Made by an administrator, so that no bootstrap token is spent."""
        body = {"name": f"agent-{uuid4()}", "capabilities": capabilities, **fields}
        made = await self.http.post("/api/v1/admin/platform-agents", headers=self.admin, json=body)
        assert made.status_code == 201, made.text
        return Agent(self.http, made.json()["agent"]["id"], {"X-API-Key": made.json()["api_key"]})

    async def bootstrap_token(self, **fields: object) -> str:
        made = await self.http.post("/api/v1/admin/bootstrap-tokens", headers=self.admin, json=fields)
        assert made.status_code == 201, made.text
        raw: str = made.json()["raw_token"]
        return raw

    async def described(self, agent: str) -> Body:
        """The agent as administrators see it, with the jobs that it holds."""
        return checked(await self.http.get(f"/api/v1/admin/platform-agents/{agent}", headers=self.admin))

    async def tell(self, agent: str, what: str) -> httpx.Response:
        """``what``: disable, enable, drain or rotate-key."""
        return await self.http.post(f"/api/v1/admin/platform-agents/{agent}/{what}", headers=self.admin)


@dataclass(frozen=True)
class Tenant:
    http: httpx.AsyncClient
    id: UUID
    headers: Mapping[str, str]

    async def submit(self, headers: Mapping[str, str] | None = None, /, **fields: object) -> httpx.Response:
        """A health check, unless the fields say something else."""
        body = {"type": "health_check", "payload": {}, **fields}
        return await self.http.post("/api/v1/platform-jobs", headers={**self.headers, **(headers or {})}, json=body)

    async def submitted(self, **fields: object) -> Body:
        """The answer to a submission that is accepted."""
        answer = await self.submit(**fields)
        assert answer.status_code == 201, answer.text
        return checked(answer)

    async def job(self, number: str) -> Body:
        job: Body = checked(await self.http.get(f"/api/v1/platform-jobs/{number}", headers=self.headers))["job"]
        return job

    async def cancel(self, number: str) -> httpx.Response:
        return await self.http.post(f"/api/v1/platform-jobs/{number}/cancel", headers=self.headers)

    async def until(self, number: str, *statuses: str, seconds: float = PATIENCE_SECONDS) -> Body:
        """The job, once it is in one of the states."""

        async def arrived() -> Body | None:
            job = await self.job(number)
            return job if job["status"] in statuses else None

        return await eventually(arrived, seconds=seconds)


@dataclass(frozen=True)
class Agent:
    http: httpx.AsyncClient
    id: str
    headers: Mapping[str, str]

    async def poll(self, *, timeout: float = 5, **fields: object) -> httpx.Response:
        body = {"timeout": timeout, **fields}
        return await self.http.post("/api/v1/platform-agent/poll", headers=self.headers, json=body)

    async def jobs(self, *, timeout: float = 5, **fields: object) -> list[Body]:
        """What a poll brings."""
        jobs: list[Body] = checked(await self.poll(timeout=timeout, **fields))["jobs"]
        return jobs

    async def report(self, job: Body, what: str, body: object = None) -> httpx.Response:
        """``what``: ack, progress, result or release, under the token that came with the job."""
        return await self.http.post(
            f"/api/v1/platform-agent/jobs/{job['id']}/{what}",
            headers={**self.headers, "X-Job-Token": job["auth_token"]},
            json={} if body is None else body,
        )

    async def finish(self, job: Body) -> None:
        """Acknowledge it and complete it at once."""
        for what, body in (("ack", None), ("result", {"status": "completed"})):
            answer = await self.report(job, what, body)
            assert answer.status_code == 200, answer.text

    async def heartbeat(self, **fields: object) -> httpx.Response:
        return await self.http.post("/api/v1/platform-agent/heartbeat", headers=self.headers, json=fields)


def bearer(token: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token}"}


def checked(answer: httpx.Response) -> Body:
    """The body of a success."""
    assert answer.is_success, f"{answer.status_code} {answer.text}"
    body: Body = answer.json()
    return body


def problem(answer: httpx.Response, status: int, code: str) -> Body:
    """The body of a refusal, which must be an RFC 9457 problem that names the request."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text}"
    assert answer.headers["content-type"] == "application/problem+json"
    body: Body = answer.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["type"] == f"urn:platform-agents:problem:{code}"
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == answer.headers["x-request-id"]
    if status in {429, 503}:
        assert int(answer.headers["retry-after"]) >= 1
    return body


async def eventually(look: Callable[[], Awaitable[T | None]], *, seconds: float = PATIENCE_SECONDS) -> T:
    """What ``look`` finds, asked until it finds something; fails when the time is up."""
    deadline = time.monotonic() + seconds
    while not (found := await look()):
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        await asyncio.sleep(0.05)
    return found
