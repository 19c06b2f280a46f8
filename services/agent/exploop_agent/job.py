"""One job, from the poll's answer to a result that the platform took: acknowledged, run, reported, delivered."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from msgspec import Struct

from exploop_agent import inventory, log, process, scanners
from exploop_agent.api import Api, Away, JobCredentials, Refused, pause
from exploop_agent.findings import SEVERITIES, Finding, ReportUnreadable, read
from exploop_agent.outbox import Outbox
from exploop_agent.process import Limits, TooMuchMemory
from exploop_agent.settings import Settings
from exploop_agent.workspace import TargetRefused, prepare
from platform_core.domain.jobs import MAX_RESULT_BYTES, JobType
from platform_core.wire import protocol

# How often the platform hears that a scan goes on: it keeps the job and this agent alive.
_PROGRESS_SECONDS = 10.0

Tell = Callable[[int, str], Awaitable[None]]


class Failure(Exception):
    """The job failed; the text tells the tenant why."""


class Cancelled(Exception):
    """The platform ended the job, or gave it to another: stop, report nothing more."""


class _Scan(Struct):
    tool: str
    target: str


class _Collect(Struct):
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every job is run with."""

    api: Api
    settings: Settings
    tools: Mapping[str, Path]
    outbox: Outbox


async def run(job: protocol.PolledJob, workshop: Workshop) -> None:
    """Run the job and deliver its result. Raises Cancelled when it is ours no longer; cancelling stops its scanner."""
    credentials = JobCredentials(job.id, job.auth_token)
    await _until_told(lambda: workshop.api.ack(credentials))
    log.info("job_started", job=job.id, type=job.type, attempt=job.attempt)
    result = await _outcome(job, workshop, credentials)
    log.info("job_ended", job=job.id, status=result.status)
    workshop.outbox.keep(credentials, _encoded(result))
    await workshop.outbox.deliver(credentials)


async def _outcome(job: protocol.PolledJob, workshop: Workshop, credentials: JobCredentials) -> protocol.JobResult:
    """What the job's work comes to; ``timeout`` seconds after the ack it is stopped and failed."""
    try:
        async with asyncio.timeout(job.timeout):
            return _completed(await _work(job, workshop, credentials))
    except TimeoutError:
        return _failed("timeout")
    except (Failure, TargetRefused, ReportUnreadable) as failure:
        return _failed(str(failure))
    except msgspec.DecodeError:
        return _failed("the payload cannot be read")
    except TooMuchMemory:
        return _failed("the scanner needed more memory than it may have")


async def _work(job: protocol.PolledJob, workshop: Workshop, credentials: JobCredentials) -> dict[str, object]:
    match job.type:
        case JobType.SCAN:
            return await _scan(job, workshop, credentials)
        case JobType.COLLECT:
            asked = msgspec.json.decode(job.payload, type=_Collect)
            return await inventory.collect(asked.kinds, tools=workshop.tools, state=workshop.settings.state)
        case JobType.HEALTH_CHECK:
            return await inventory.health(tools=workshop.tools, state=workshop.settings.state)


async def _scan(job: protocol.PolledJob, workshop: Workshop, credentials: JobCredentials) -> dict[str, object]:
    asked = msgspec.json.decode(job.payload, type=_Scan)
    scanner, binary = scanners.TABLE.get(asked.tool), workshop.tools.get(asked.tool)
    if scanner is None or binary is None:
        raise Failure(f"{asked.tool} is not installed on this agent")
    with tempfile.TemporaryDirectory(prefix="exploop-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        await _tell(workshop.api, credentials, 5, f"preparing {asked.target}")
        target, root = await prepare(
            scanner,
            asked.target,
            tenant=job.tenant_id,
            workspace=workshop.settings.workspace,
            folder=folder,
            private_allowed=workshop.settings.allow_private_targets,
        )
        report = folder / scanner.report_name
        argv = scanners.command(scanner, binary, target=target, report=report)
        limits = Limits(cpu_seconds=job.timeout, memory_bytes=workshop.settings.max_memory_bytes)
        ended = await _with_progress(
            process.run(argv, folder=folder, limits=limits), workshop.api, credentials, f"{scanner.name} is scanning"
        )
        if ended.code not in scanner.findings_exit:
            raise Failure(f"{scanner.name} ended with code {ended.code}: {ended.output[-500:]}")
        found = read(report, scanner.report, tool=scanner.name, root=root)
        await _tell(workshop.api, credentials, 95, f"{len(found)} findings")
    return {"findings": found, "summary": _summary(found)}


async def _with_progress(
    work: Awaitable[process.Ended], api: Api, credentials: JobCredentials, message: str
) -> process.Ended:
    """The work's result, while the platform hears every ten seconds that it goes on."""
    running = asyncio.ensure_future(work)
    told = 10
    try:
        while not running.done():
            await _tell(api, credentials, told, message)
            await asyncio.wait([running], timeout=_PROGRESS_SECONDS)
            told = min(90, told + 5)
        return running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _tell(api: Api, credentials: JobCredentials, percent: int, message: str) -> None:
    """Report progress. A platform that is away is not waited for. Raises Cancelled."""
    try:
        answer = await api.progress(credentials, protocol.Progress(progress=percent, message=message[:1000]))
    except Away:
        return
    except Refused as refused:
        raise Cancelled(refused.code) from refused
    if answer.cancelled:
        raise Cancelled("cancelled")


async def _until_told(call: Callable[[], Awaitable[None]]) -> None:
    """Try until the platform answers. Raises Cancelled when it says no."""
    attempt = 0
    while True:
        try:
            await call()
        except Away as away:
            await asyncio.sleep(pause(attempt, asked=away.retry_after))
            attempt += 1
        except Refused as refused:
            raise Cancelled(refused.code) from refused
        else:
            return


def _completed(result: dict[str, object]) -> protocol.JobResult:
    return protocol.JobResult(status="completed", result=msgspec.Raw(msgspec.json.encode(result)))


def _failed(why: str) -> protocol.JobResult:
    return protocol.JobResult(status="failed", error=why[:1000])


def _encoded(result: protocol.JobResult) -> bytes:
    """As JSON; findings that would not fit into a result's 10 MB are cut off at the end, and it says so."""
    body = msgspec.json.encode(result)
    if len(body) < MAX_RESULT_BYTES:
        return body
    whole = msgspec.json.decode(result.result, type=dict[str, msgspec.Raw])
    found = msgspec.json.decode(whole["findings"], type=list[Finding])
    half = found[: len(found) // 2]
    kept: dict[str, object] = {"findings": half, "summary": f"{_summary(half)} (cut off: the report was too large)"}
    return _encoded(_completed(kept))


def _summary(found: list[Finding]) -> str:
    counts = [(severity, sum(f.severity == severity for f in found)) for severity in SEVERITIES]
    parts = ", ".join(f"{count} {severity}" for severity, count in counts if count)
    return f"Found {len(found)} {'problem' if len(found) == 1 else 'problems'}{': ' + parts if parts else ''}"
