"""One job, from the poll's answer to a result that is kept: acknowledged, carried out, put down."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import msgspec
from msgspec import Struct

from exploop_agent import inventory, log
from exploop_agent.api import Api, Away, JobCredentials, Refused, pause
from exploop_agent.findings import SEVERITIES, Finding, ReportUnreadable
from exploop_agent.outbox import Outbox
from exploop_agent.process import TooMuchMemory
from exploop_agent.scan import Bench, Failure, Order, scan
from exploop_agent.settings import Settings
from exploop_agent.workspace import TargetRefused
from platform_core.domain.jobs import MAX_RESULT_BYTES, JobType
from platform_core.wire import protocol


class Cancelled(Exception):
    """The platform ended the job, or gave it to another: stop, report nothing more."""


class _Collect(Struct):
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Workshop:
    """What every job is run with."""

    api: Api
    settings: Settings
    bench: Bench
    outbox: Outbox


async def run(job: protocol.PolledJob, workshop: Workshop) -> bytes:
    """Run the job; its result, encoded. Raises Cancelled when it is ours no longer; cancelling stops its scanner."""
    credentials = JobCredentials(job.id, job.auth_token)
    await _until_told(partial(workshop.api.ack, credentials))
    log.info("job_started", job=job.id, type=job.type, attempt=job.attempt)
    result = await _outcome(job, workshop, credentials)
    log.info("job_ended", job=job.id, status=result.status, error=result.error)
    return _encoded(result)


async def _outcome(job: protocol.PolledJob, workshop: Workshop, credentials: JobCredentials) -> protocol.JobResult:
    """What the job's work comes to; ``timeout`` seconds after the ack it is stopped and failed."""
    try:
        async with asyncio.timeout(job.timeout):
            return _completed(await _work(job, workshop, credentials))
    except Cancelled:
        raise
    except TimeoutError:
        return _failed("timeout")
    except (Failure, TargetRefused, ReportUnreadable) as failure:
        return _failed(str(failure))
    except msgspec.DecodeError:
        return _failed("the payload cannot be read")
    except TooMuchMemory:
        return _failed("the scanner needed more memory than it may have")
    except Exception as error:
        # A full disk, a binary that is gone, a mistake of ours: the tenant hears that it failed, the operator why.
        log.warning("job_broke", job=job.id, why=repr(error))
        return _failed("the agent could not run it")


async def _work(job: protocol.PolledJob, workshop: Workshop, credentials: JobCredentials) -> dict[str, object]:
    bench, state = workshop.bench, workshop.settings.state
    match job.type:
        case JobType.SCAN:
            order = msgspec.json.decode(job.payload, type=Order)
            tell = partial(_tell, workshop.api, credentials)
            found = await scan(order, bench, tenant=job.tenant_id, seconds=job.timeout, tell=tell)
            return {"findings": found, "summary": _summary(found)}
        case JobType.COLLECT:
            asked = msgspec.json.decode(job.payload, type=_Collect)
            return await inventory.collect(asked.kinds, tools=bench.tools, state=state)
        case JobType.HEALTH_CHECK:
            return await inventory.health(tools=bench.tools, state=state)


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
