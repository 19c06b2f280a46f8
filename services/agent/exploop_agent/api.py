"""The platform's HTTP API, as this agent uses it. Everything comes in by the gateway."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import httpx
import msgspec
from httpx_sse import EventSource, ServerSentEvent
from msgspec import Struct

from platform_core.wire import agents as wire_agents
from platform_core.wire import protocol

Body = TypeVar("Body", bound=Struct)

# The largest pause between two tries while the platform is away.
MAX_PAUSE = timedelta(seconds=30)
# Beyond what the poll itself may take, for the way there and back.
_SLACK_SECONDS = 15.0


class Refused(Exception):
    """The platform said no, for good: a 4xx that another try will not change."""

    def __init__(self, status: int, code: str, detail: str = "") -> None:
        self.status = status
        self.code = code
        super().__init__(f"{status} {code}{': ' + detail if detail else ''}")


class Away(Exception):
    """The platform cannot be reached, is overloaded or asks to come back later; ``retry_after`` if it said when."""

    def __init__(self, why: str, retry_after: timedelta | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(why)


class _FieldProblem(Struct):
    field: str = ""
    message: str = ""


class _Problem(Struct):
    code: str = "unknown"
    detail: str | None = None
    errors: list[_FieldProblem] = []

    @property
    def text(self) -> str:
        """What is wrong, as the platform says it."""
        fields = [f"{error.field}: {error.message}" for error in self.errors]
        return "; ".join(fields) or self.detail or ""


@dataclass(frozen=True, slots=True)
class JobCredentials:
    """Names one attempt at one job."""

    job: UUID
    token: str


class Api:
    """``key`` is this agent's API key, once it has one."""

    def __init__(self, base_url: str, *, key: str | None = None) -> None:
        self.key = key
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=16)
        self._client = httpx.AsyncClient(base_url=base_url, timeout=20, limits=limits, trust_env=False)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def register(self, body: wire_agents.Register) -> wire_agents.AgentWithKey:
        """Raises Refused or Away."""
        return await self._post("/platform-agents/register", body, wire_agents.AgentWithKey)

    async def poll(self, *, max_jobs: int, timeout: float) -> tuple[protocol.PolledJob, ...]:
        """Held for up to ``timeout`` seconds. Raises Refused or Away."""
        body = protocol.Poll(max_jobs=max_jobs, timeout=timeout)
        answer = await self._post("/platform-agent/poll", body, protocol.PollAnswer, seconds=timeout + _SLACK_SECONDS)
        return answer.jobs

    async def heartbeat(self, body: protocol.Heartbeat) -> protocol.HeartbeatAnswer:
        return await self._post("/platform-agent/heartbeat", body, protocol.HeartbeatAnswer)

    async def ack(self, job: JobCredentials) -> None:
        await self._about(job, "ack", None, protocol.AgentJobAnswer)

    async def progress(self, job: JobCredentials, body: protocol.Progress) -> protocol.ProgressAnswer:
        return await self._about(job, "progress", body, protocol.ProgressAnswer)

    async def result(self, job: JobCredentials, body: bytes) -> None:
        """``body`` is the encoded `JobResult`."""
        path = f"/platform-agent/jobs/{job.job}/result"
        headers = {"X-Job-Token": job.token, "Content-Type": "application/json"}
        await self._send("POST", path, content=body, headers=headers, seconds=60)

    async def release(self, job: JobCredentials) -> None:
        await self._about(job, "release", None, protocol.AgentJobAnswer)

    @asynccontextmanager
    async def events(self) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
        """The server-sent events of this agent. Raises Refused or Away."""
        timeout = httpx.Timeout(20, read=45)
        try:
            async with self._client.stream(
                "GET", "/api/v1/platform-agent/events", headers=self._headers(), timeout=timeout
            ) as response:
                if not response.is_success:
                    await response.aread()
                    raise _refusal(response)
                yield EventSource(response).aiter_sse()
        except httpx.HTTPError as error:
            raise Away(type(error).__name__) from error

    async def _about(self, job: JobCredentials, what: str, body: Struct | None, kind: type[Body]) -> Body:
        path = f"/platform-agent/jobs/{job.job}/{what}"
        return await self._post(path, body, kind, headers={"X-Job-Token": job.token})

    async def _post(
        self,
        path: str,
        body: Struct | None,
        kind: type[Body],
        *,
        headers: dict[str, str] | None = None,
        seconds: float = 20,
    ) -> Body:
        content = msgspec.json.encode(body) if body is not None else b""
        sent = {"Content-Type": "application/json", **(headers or {})}
        answer = await self._send("POST", path, content=content, headers=sent, seconds=seconds)
        try:
            return msgspec.json.decode(answer, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Away("the answer cannot be read") from error

    async def _send(self, method: str, path: str, *, content: bytes, headers: dict[str, str], seconds: float) -> bytes:
        try:
            response = await self._client.request(
                method, f"/api/v1{path}", content=content, headers=self._headers() | headers, timeout=seconds
            )
        except httpx.HTTPError as error:
            raise Away(type(error).__name__) from error
        if not response.is_success:
            raise _refusal(response)
        return response.content

    def _headers(self) -> dict[str, str]:
        return {"X-API-Key": self.key} if self.key else {}


def pause(attempt: int, *, asked: timedelta | None = None) -> float:
    """Seconds before try number ``attempt`` + 1: exponential with full jitter, no less than the platform asked for."""
    most = min(MAX_PAUSE.total_seconds(), 0.5 * 2 ** min(attempt, 10))
    least = asked.total_seconds() if asked else 0.0
    return least + random.uniform(0, most)  # noqa: S311 - jitter, not a secret


def _refusal(response: httpx.Response) -> Refused | Away:
    try:
        problem = msgspec.json.decode(response.content, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = _Problem()
    if response.status_code == 429 or response.status_code >= 500:
        return Away(f"{response.status_code} {problem.code}", _retry_after(response))
    return Refused(response.status_code, problem.code, problem.text)


def _retry_after(response: httpx.Response) -> timedelta | None:
    told = response.headers.get("retry-after", "")
    return timedelta(seconds=int(told)) if told.isdecimal() else None
