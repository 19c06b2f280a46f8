"""One scan: its target found and checked, its scanner run, its report read."""

import asyncio
import re
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from uuid import UUID

from msgspec import Struct

from exploop_agent import process, scanners, workspace
from exploop_agent.findings import Finding
from exploop_agent.network import AddressRefused
from exploop_agent.process import Ended, Limits
from exploop_agent.proxy import Judge, filtering_proxy
from exploop_agent.reports import read
from exploop_agent.scanners import Aim, Call, Scanner, Target, WayOut
from exploop_agent.table import TABLE
from exploop_agent.workspace import TargetRefused
from platform_core.domain.errors import Invalid
from platform_core.domain.targets import GitTarget, ImageTarget, NetworkTarget, PathTarget, parse_target

# How often the platform hears that a scan goes on: it keeps the job and this agent alive.
_PROGRESS_SECONDS = 10.0
_ERROR = re.compile("error|fatal|panic|exception", re.IGNORECASE)
_MAX_DATABASE_BYTES = 8 * 2**30
_DEFAULT_REGISTRY = "index.docker.io"

Tell = Callable[[int, str], Awaitable[None]]


class Failure(Exception):
    """The job failed; the text tells the tenant why."""


class Order(Struct):
    """A scan's payload; what else is in it is not for us."""

    tool: str
    target: str


@dataclass(frozen=True, slots=True)
class Bench:
    """What every scan is run with: the installed scanners' binaries, and who says which hosts may be reached."""

    tools: Mapping[str, Path]
    workspace: Path | None
    cache: Path
    judge: Judge
    max_memory_bytes: int
    one_at_a_time: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))


async def scan(order: Order, bench: Bench, *, tenant: UUID, seconds: int, tell: Tell) -> list[Finding]:
    """What the scanner found.

    Raises Failure, TargetRefused, ReportUnreadable, TooMuchMemory, OSError, and what ``tell`` raises.
    """
    scanner, binary = TABLE.get(order.tool), bench.tools.get(order.tool)
    if scanner is None or binary is None:
        raise Failure(f"{order.tool} is not installed on this agent")
    limits = Limits(seconds=seconds, memory_bytes=bench.max_memory_bytes)
    with tempfile.TemporaryDirectory(prefix="exploop-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        report = folder / scanner.report_name
        async with filtering_proxy(bench.judge) as proxy:
            await tell(5, f"preparing {order.target}")
            prepare = partial(_prepare, scanner, order.target, bench, tenant=tenant)
            target = await prepare(clone_into=folder / "repository", proxy=proxy, limits=limits)
            call = Call(binary, target, report, proxy, bench.cache)
            running = _run(scanner, call, bench, limits=limits)
            ended = await _with_progress(running, tell, f"{scanner.name} is scanning")
        if not _ran(scanner, ended, report):
            raise Failure(f"{scanner.name} ended with code {ended.code}: {_reason(ended, hide=(target.root, folder))}")
        found = read(report, scanner.report, tool=scanner.name, root=target.root) if report.exists() else []
    await tell(95, f"{len(found)} findings")
    return found


async def _run(scanner: Scanner, call: Call, bench: Bench, *, limits: Limits) -> Ended:
    folder = call.report.parent
    start = partial(
        process.run,
        scanners.command(scanner, call),
        where=scanners.working_directory(scanner, target=call.target, folder=folder),
        environment=process.minimal_environment(folder, binary=call.binary) | scanners.variables(scanner, call),
    )
    if not scanner.cached:
        return await start(limits=limits)
    async with bench.one_at_a_time[scanner.binary]:
        return await start(limits=replace(limits, file_bytes=_MAX_DATABASE_BYTES))


async def _prepare(
    scanner: Scanner, text: str, bench: Bench, *, tenant: UUID, clone_into: Path, proxy: str, limits: Limits
) -> Target:
    """What the scanner is given. Raises TargetRefused."""
    try:
        target = parse_target(scanner.name, text)
    except Invalid as error:
        raise TargetRefused(str(error)) from error
    match target:
        case PathTarget(path=path):
            found = await workspace.of_path(path, tenant=tenant, workspace=bench.workspace)
        case GitTarget():
            await _judge(bench, target.host)
            found = await workspace.clone(target, clone_into, proxy=proxy, limits=limits)
        case NetworkTarget():
            await _judge(bench, target.host)
            found = Target(Aim.NETWORK, _addresses(target))
        case ImageTarget():
            await _judge(bench, (target.registry or _DEFAULT_REGISTRY).partition(":")[0])
            found = Target(Aim.IMAGE, target.reference)
    _fits(scanner, found)
    return found


def _fits(scanner: Scanner, target: Target) -> None:
    """Raises TargetRefused when the scanner is not for this."""
    if target.aim not in scanner.calls:
        raise TargetRefused(f"{scanner.name} cannot be aimed at {target.aim.value}")
    if target.aim in {Aim.NETWORK, Aim.IMAGE} and scanner.way_out is WayOut.NOTHING:
        raise TargetRefused(f"{scanner.name} cannot be held to addresses that were checked")
    if target.aim is Aim.FOLDER and scanner.needs is not None and not Path(target.text, scanner.needs).is_file():
        raise TargetRefused(f"{scanner.name} needs a {scanner.needs} in the folder")


async def _judge(bench: Bench, host: str) -> None:
    """Early, so that the tenant is told; what then connects is judged again, by the proxy."""
    try:
        await bench.judge(host)
    except AddressRefused as refused:
        raise TargetRefused(str(refused)) from refused


def _addresses(target: NetworkTarget) -> str:
    """Web addresses only: a scanner would look around the proxy for what answers at a bare host."""
    if "://" in target.url:
        return target.url
    return f"http://{target.url},https://{target.url}"


def _ran(scanner: Scanner, ended: Ended, report: Path) -> bool:
    """Did it run to its end?"""
    clean = scanner.silent_when_clean and ended.code == 0
    return ended.code in scanner.findings_exit and (report.exists() or clean)


def _reason(ended: Ended, *, hide: tuple[Path | None, ...]) -> str:
    """The last line that tells of an error, else the last one; without this machine's folders."""
    said = [line.strip() for line in ended.output.splitlines() if line.strip()] or ["it said nothing"]
    line = next((line for line in reversed(said) if _ERROR.search(line)), said[-1])
    for folder in hide:
        line = line.replace(f"{folder}/", "")
    return line[:500]


async def _with_progress(work: Awaitable[Ended], tell: Tell, message: str) -> Ended:
    """The work's result, while the platform hears every ten seconds that it goes on."""
    running = asyncio.ensure_future(work)
    told = 10
    try:
        while not running.done():
            await tell(told, message)
            await asyncio.wait([running], timeout=_PROGRESS_SECONDS)
            told = min(90, told + 5)
        return running.result()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
