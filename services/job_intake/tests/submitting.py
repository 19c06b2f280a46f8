"""Tenants that call the service, and what they look for in its answers."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from httpx import AsyncClient, Response
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from platform_core.domain.ids import JobId, TenantId
from platform_server.signals.wakeups import Channel
from world import bearer, eventually

JOBS = "/api/v1/platform-jobs"
STATISTICS = "/api/v1/admin/platform-jobs/stats"
# What tenants may call.
TENANTS = [
    ("POST", JOBS),
    ("GET", JOBS),
    ("GET", f"{JOBS}/{UUID(int=7)}"),
    ("POST", f"{JOBS}/{UUID(int=7)}/cancel"),
    ("POST", f"{JOBS}/{UUID(int=7)}/retry"),
]

Body = dict[str, Any]
Serve = Callable[..., AbstractAsyncContextManager[AsyncClient]]


def scan(**payload: object) -> Body:
    """A scan that the world's agents can run."""
    target = {"tool": "nuclei", "target": "example.com"}
    return {"type": "scan", "payload": {**target, **payload}, "capabilities": ["nuclei"]}


@dataclass(frozen=True)
class Tenant:
    """A tenant that calls the service."""

    id: TenantId
    http: AsyncClient

    async def call(self, method: str, path: str, *, through: AsyncClient | None = None, **request: Any) -> Response:
        """``through``: a client of another instance."""
        headers = {"Authorization": f"Bearer {bearer(role='tenant', tenant_id=str(self.id))}"}
        headers |= request.pop("headers", {})
        return await (through or self.http).request(method, path, headers=headers, **request)

    async def submit(
        self, body: Body | None = None, *, key: str | None = None, through: AsyncClient | None = None
    ) -> Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.call("POST", JOBS, json=body or scan(), headers=headers, through=through)

    async def submitted(self, body: Body | None = None, **how: Any) -> Body:
        """The answer to a submission that is accepted."""
        answer = await self.submit(body, **how)
        assert answer.status_code == 201, answer.text
        told: Body = answer.json()
        return told

    async def job(self, job: str | JobId) -> Body:
        answer = await self.call("GET", f"{JOBS}/{job}")
        assert answer.status_code == 200, answer.text
        shown: Body = answer.json()["job"]
        return shown


class NewTenant(Protocol):
    def __call__(self, plan: str = "enterprise", *, http: AsyncClient | None = None) -> Awaitable[Tenant]: ...


async def hear(client: Redis, instances: int) -> None:
    """Waits until so many instances hear of assignments."""

    async def subscribed() -> bool:
        ((_, count),) = await client.pubsub_numsub(Channel.JOB_ASSIGNED)
        return bool(count == instances)

    await eventually(subscribed)


def problem(answer: Response, status: int, code: str) -> Body:
    """The answer, if it is that problem."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    told: Body = answer.json()
    assert (answer.status_code, told["status"], told["code"]) == (status, status, code), answer.text
    return told


def bad_fields(answer: Response) -> list[str]:
    """The fields that a 400 names."""
    return [error["field"] for error in problem(answer, 400, "validation_failed")["errors"]]


def counted(metric: str, **labels: str) -> float:
    """A counter as it stands; the process keeps it over all tests."""
    return REGISTRY.get_sample_value(metric, labels) or 0.0


def job_id(answer: Body) -> JobId:
    return JobId(UUID(answer["job"]["id"]))
