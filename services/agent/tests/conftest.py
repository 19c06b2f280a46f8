"""A platform that agents meet on a real socket, as the test scripts it; an agent; scanners that the test wrote."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from exploop_agent import scanners
from exploop_agent.agent import Agent
from exploop_agent.api import Api
from exploop_agent.job import Workshop
from exploop_agent.network import Address, checked_addresses
from exploop_agent.outbox import Outbox
from exploop_agent.scan import Bench
from exploop_agent.settings import Settings
from exploop_agent.stopping import Stopping
from exploop_agent.table import TABLE
from platform_core.domain.agents import AgentStatus
from platform_core.domain.jobs import JobStatus, JobType
from platform_core.wire import protocol
from platform_stack.processes import free_port
from world import eventually

TENANT = UUID(int=7)
REPORT_OPTIONS = ("--file", "-out", "--sarif-output", "--output", "-sarif-export", "--report-path")
SARIF_OF_ONE = (
    '{"runs": [{"results": [{"ruleId": "R1", "level": "error", "message": {"text": "bad"},'
    ' "locations": [{"physicalLocation": {"artifactLocation": {"uri": "a.py"}, "region": {"startLine": 3}}}]}]}]}'
)


def problem(status: int, code: str, **headers: str) -> Response:
    return JSONResponse({"code": code, "detail": f"it is {code}"}, status, headers=headers)


@dataclass
class Platform:
    """Speaks the agents' protocol. ``calls``: what it was asked, in order; ``refusals``: answers given first, by call.

    ``cancelled``: told by progress and heartbeat answers. ``events``: sent to whoever listens.
    """

    port: int = field(default_factory=free_port)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    refusals: dict[str, list[Response]] = field(default_factory=dict)
    waiting: asyncio.Queue[protocol.PolledJob] = field(default_factory=asyncio.Queue)
    events: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    cancelled: set[UUID] = field(default_factory=set)
    lost: set[UUID] = field(default_factory=set)
    hold_polls: bool = True
    polls_left: int = 0
    listeners: int = 0

    def __post_init__(self) -> None:
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        config = uvicorn.Config(
            self._app(), port=self.port, log_level="critical", lifespan="off", ws="none", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server.serve())

        async def started() -> bool:
            return self._server is not None and self._server.started

        await eventually(started)

    async def stop(self) -> None:
        if self._server is not None and self._serving is not None:
            self._server.should_exit = self._server.force_exit = True
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()
            await self._serving
        self._server = None

    def submit(self, kind: JobType = JobType.SCAN, *, timeout: int = 30, **payload: object) -> UUID:
        job = protocol.PolledJob(
            id=uuid4(), type=kind, tenant_id=TENANT, payload=msgspec.Raw(msgspec.json.encode(payload)),
            auth_token=f"token-{uuid4()}", timeout=timeout, attempt=1,
        )  # fmt: skip
        self.waiting.put_nowait(job)
        return job.id

    def tell(self, kind: str, job: UUID) -> None:
        self.events.put_nowait(f'event: {kind}\ndata: {{"job_id": "{job}"}}\n\n'.encode())

    def asked(self, what: str) -> list[Any]:
        """The bodies of these calls."""
        return [body for called, body in self.calls if called == what]

    def about(self, job: UUID) -> list[str]:
        """What the agent said of this job, in order."""
        return [called.split("/")[0] for called, _ in self.calls if called.endswith(f"/{job}")]

    def result(self, job: UUID) -> Any:
        found = self.asked(f"result/{job}")
        return found[0] if found else None

    def _app(self) -> Starlette:
        v1 = "/api/v1"
        return Starlette(
            routes=[
                Route(f"{v1}/platform-agents/register", self._register, methods=["POST"]),
                Route(f"{v1}/platform-agent/poll", self._poll, methods=["POST"]),
                Route(f"{v1}/platform-agent/heartbeat", self._heartbeat, methods=["POST"]),
                Route(f"{v1}/platform-agent/events", self._events, methods=["GET"]),
                Route(f"{v1}/platform-agent/jobs/{{id:uuid}}/{{what}}", self._job, methods=["POST"]),
            ]
        )

    async def _note(self, request: Request, what: str, name: str | None = None) -> Response | None:
        body = await request.body()
        self.keys.append(request.headers.get("x-api-key"))
        self.calls.append((name or what, msgspec.json.decode(body) if body else None))
        refusals = self.refusals.get(what)
        return refusals.pop(0) if refusals else None

    async def _register(self, request: Request) -> Response:
        if refusal := await self._note(request, "register"):
            return refusal
        body = self.asked("register")[-1]
        agent = {
            "id": str(uuid4()), "name": body["name"], "status": "offline", "is_platform_agent": True,
            "region": body["region"], "capabilities": body["capabilities"], "tools": body["tools"],
            "labels": body["labels"], "max_concurrent": body["max_concurrent"], "running": 0,
            "version": body["version"], "hostname": body["hostname"], "last_seen_at": None,
            "created_at": "2026-01-24T00:00:00Z",
        }  # fmt: skip
        return JSONResponse({"agent": agent, "api_key": f"rdv_agent_{len(self.asked('register'))}"}, 201)

    async def _poll(self, request: Request) -> Response:
        if refusal := await self._note(request, "poll"):
            return refusal
        asked = self.calls[-1][1]
        job = asyncio.ensure_future(self.waiting.get())
        left = asyncio.ensure_future(request.receive())
        seconds = asked["timeout"] if self.hold_polls else 0
        await asyncio.wait([job, left], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        if not job.done():
            self.polls_left += left.done() and not left.cancelled()
            job.cancel()
            return Response(b'{"jobs": []}', media_type="application/json")
        jobs = [job.result()]
        while len(jobs) < asked["max_jobs"] and not self.waiting.empty():
            jobs.append(self.waiting.get_nowait())
        return _json(protocol.PollAnswer(jobs=tuple(jobs)))

    async def _heartbeat(self, request: Request) -> Response:
        if refusal := await self._note(request, "heartbeat"):
            return refusal
        answer = protocol.HeartbeatAnswer(
            status=AgentStatus.ONLINE, server_time=datetime.now(UTC), next_heartbeat_seconds=1,
            cancelled_jobs=tuple(self.cancelled), lost_jobs=tuple(self.lost),
        )  # fmt: skip
        return _json(answer)

    async def _events(self, request: Request) -> Response:
        if refusal := await self._note(request, "events"):
            return refusal
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[bytes]:
        self.listeners += 1
        try:
            yield b": here\n\n"
            while True:
                yield await self.events.get()
        finally:
            self.listeners -= 1

    async def _job(self, request: Request) -> Response:
        what, job = request.path_params["what"], request.path_params["id"]
        if refusal := await self._note(request, what, f"{what}/{job}"):
            return refusal
        if what == "progress":
            return _json(protocol.ProgressAnswer(status=JobStatus.RUNNING, cancelled=job in self.cancelled))
        view = protocol.AgentJob(
            id=job, tenant_id=TENANT, type=JobType.SCAN, status=JobStatus.RUNNING, attempt=1, progress=None,
            timeout=30, assigned_at=None, started_at=None, completed_at=None,
        )  # fmt: skip
        return _json(protocol.AgentJobAnswer(job=view))


def _json(body: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    made = Platform()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def settings(tmp_path: Path, platform: Platform) -> Settings:
    (tmp_path / "workspace" / str(TENANT) / "sample").mkdir(parents=True)
    (tmp_path / "state").mkdir()
    return Settings(
        api_url=platform.url, bootstrap_token="abc123.0123456789abcdef", name="scanner-1", region="local",
        capabilities=(), labels=(), max_concurrent=1, state=tmp_path / "state", workspace=tmp_path / "workspace",
        scanners=tmp_path / "scanners", allow_private_targets=False, drain=timedelta(seconds=5),
        poll=timedelta(seconds=60), max_memory_bytes=512 * 2**20,
    )  # fmt: skip


@pytest.fixture
def sample(settings: Settings) -> Path:
    """A folder in the tenant's workspace, named ``sample``."""
    assert settings.workspace is not None
    return settings.workspace / str(TENANT) / "sample"


@pytest.fixture
def scanner(tmp_path: Path) -> Callable[[str, str], Path]:
    """Puts a program of the test's own in a scanner's place. It finds ``report`` and ``target`` set."""

    def install(name: str, body: str) -> Path:
        row = TABLE[name]
        assert row.environment is not None
        file = tmp_path / "scanners" / row.environment / "bin" / row.binary
        file.parent.mkdir(parents=True, exist_ok=True)
        flag = next(word for word in REPORT_OPTIONS if repr(word) in repr(row.calls))
        lines = [
            f"#!{sys.executable} -ISB",
            "import os, sys, time",
            f"report = sys.argv[sys.argv.index({flag!r}) + 1] if {flag!r} in sys.argv else None",
            "target = sys.argv[-1]",
            body,
        ]
        file.write_text("\n".join(lines))
        file.chmod(0o755)
        return file

    return install


@pytest.fixture
def finds_one(scanner: Callable[[str, str], Path]) -> Path:
    """A bandit that finds one thing."""
    return scanner("bandit", f"open(report, 'w').write({SARIF_OF_ONE!r})")


@pytest.fixture
def sleeps(scanner: Callable[[str, str], Path], tmp_path: Path) -> Path:
    """A bandit that never ends, nor its child; the file in which it writes the numbers of both."""
    numbers = tmp_path / "numbers"
    body = (
        "import subprocess\n"
        "child = subprocess.Popen(['/bin/sleep', '600'])\n"
        f"open({str(numbers)!r} + '.new', 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        f"os.rename({str(numbers)!r} + '.new', {str(numbers)!r})\n"
        "time.sleep(600)"
    )
    scanner("bandit", body)
    return numbers


def alive(numbers: Path) -> list[int]:
    """Which of the processes in the file still run; a zombie does not."""
    found = []
    for number in map(int, numbers.read_text().split()):
        try:
            state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(number)
    return found


@pytest.fixture
def still_alive() -> Callable[[Path], list[int]]:
    return alive


@dataclass
class Running:
    """An agent at work in this process; ``stop`` is its SIGTERM."""

    stopping: Stopping
    task: asyncio.Task[None]

    async def stop(self) -> None:
        self.stopping.tell()
        await self.task


@pytest.fixture
def workshop(settings: Settings) -> Callable[..., Workshop]:
    """What an agent works with; settings may be given."""

    async def judge(host: str) -> list[Address]:
        return await checked_addresses(host, private_allowed=False)

    def make(*, key: str = "rdv_agent_1", **changes: Any) -> Workshop:
        changed = replace(settings, **changes)
        api = Api(changed.api_url, key=key)
        tools = scanners.installed(TABLE, changed.scanners)
        bench = Bench(tools, changed.workspace, changed.state / "cache", judge, changed.max_memory_bytes)
        return Workshop(api, changed, bench, Outbox(api, changed.state / "outbox"))

    return make


@pytest.fixture
def agent(workshop: Callable[..., Workshop]) -> Callable[..., Any]:
    """Runs an agent for as long as the block; settings may be given."""

    @asynccontextmanager
    async def run(**changes: Any) -> AsyncIterator[Running]:
        made, stopping = workshop(**changes), Stopping()
        task = asyncio.create_task(Agent(made, stopping).run())
        try:
            yield Running(stopping, task)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await made.api.aclose()

    return run


@pytest.fixture
def command(settings: Settings) -> tuple[str, Mapping[str, str]]:
    """exploop-agent, and the environment for it to meet the platform with."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(settings.state),
        "EXPLOOP_API_URL": settings.api_url,
        "REDIVER_BOOTSTRAP_TOKEN": "abc123.0123456789abcdef",
        "AGENT_NAME": "scanner-1",
        "AGENT_STATE_DIR": str(settings.state),
        "AGENT_WORKSPACE": str(settings.workspace),
        "AGENT_SCANNERS_DIR": str(settings.scanners),
    }
    return str(Path(sys.executable).parent / "exploop-agent"), env


@pytest.fixture
def until() -> Callable[..., Any]:
    """Asks until it holds. Raises TimeoutError."""

    async def wait(holds: Callable[[], object], *, seconds: float = 5.0) -> None:
        async def asked() -> bool:
            return bool(holds())

        await eventually(asked, seconds=seconds)

    return wait
