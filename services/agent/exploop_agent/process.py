"""A scanner as a child process: its own group and folder, nothing of our environment, limits on all it may take."""

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import psutil

_MAX_OUTPUT_BYTES: Final = 1 * 2**20
_MAX_PROCESSES: Final = 4096
_WATCH_SECONDS: Final = 0.5
_KILL_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """``seconds``: how long every processor of this machine may be busy for it; ``memory_bytes``: resident, of all
    its processes; ``file_bytes``: of one file."""

    seconds: int
    memory_bytes: int
    file_bytes: int = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Ended:
    """``output``: the end of what it printed."""

    code: int
    output: str


class TooMuchMemory(Exception):
    """The scanner's processes held more memory than they may."""


async def run(argv: Sequence[str], *, where: Path, environment: Mapping[str, str], limits: Limits) -> Ended:
    """Run it to its end in ``where``. However this ends, cancellation included, no process of its group is left.

    Raises TooMuchMemory, or OSError when it cannot be started.
    """
    async with _pipe() as (output, write_end):
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=where,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=write_end,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: _limit(limits),
        )
        write_end.close()
        watching = asyncio.create_task(_watch(process.pid, limits.memory_bytes))
        reading = asyncio.create_task(_tail(output))
        ending = asyncio.create_task(process.wait())
        try:
            await asyncio.wait([ending, watching], return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                raise TooMuchMemory
            # What it started and left behind would hold the pipe open.
            await _kill_group(process)
            return Ended(ending.result(), await reading)
        finally:
            watching.cancel()
            ending.cancel()
            await _kill_group(process)
            reading.cancel()


@asynccontextmanager
async def _pipe() -> AsyncIterator[tuple[asyncio.StreamReader, IO[Any]]]:
    """A pipe of ours, its writing end to be closed once the child has it.

    Of a pipe of its own, asyncio waits for the end before it tells that the process has ended.
    """
    with ExitStack() as ends:
        read_end, write_end = (
            ends.enter_context(os.fdopen(end, how)) for end, how in zip(os.pipe(), "rw", strict=True)
        )
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), read_end
        )
        try:
            yield reader, write_end
        finally:
            transport.close()


def minimal_environment(home: Path, *, binary: Path) -> dict[str, str]:
    """Fixed: nothing of ours is inherited. Its own environment's programs come first."""
    path = os.pathsep.join((str(binary.parent), "/usr/local/bin", "/usr/bin", "/bin"))
    return {"PATH": path, "HOME": str(home), "LANG": "C.UTF-8"}


def _limit(limits: Limits) -> None:
    busy = limits.seconds * (os.cpu_count() or 1)
    resource.setrlimit(resource.RLIMIT_CPU, (busy, busy))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NPROC, (_MAX_PROCESSES, _MAX_PROCESSES))


async def _tail(stream: asyncio.StreamReader) -> str:
    """Read everything, so that the child never blocks; keep the end."""
    kept = b""
    while chunk := await stream.read(65_536):
        kept = (kept + chunk)[-_MAX_OUTPUT_BYTES:]
    return kept.decode(errors="replace")


async def _watch(pid: int, most: int) -> None:
    """Ends when the group holds too much memory."""
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        if await asyncio.to_thread(_resident, pid) > most:
            return


def _resident(pid: int) -> int:
    """Bytes in memory; what forked processes share is counted once."""
    try:
        parent = psutil.Process(pid)
        group = [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for member in group:
        with suppress(psutil.Error):
            told = member.memory_full_info()
            total += getattr(told, "pss", told.rss)
    return total


async def _kill_group(process: asyncio.subprocess.Process) -> None:
    """The whole group, at once: a scanner's children must not outlive it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(TimeoutError):
        async with asyncio.timeout(_KILL_SECONDS):
            await process.wait()
