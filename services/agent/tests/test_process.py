"""A scanner as a child process: what it gets, what it may take, what is left of it."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exploop_agent import process
from exploop_agent.process import Ended, Limits, TooMuchMemory

LIMITS = Limits(seconds=60, memory_bytes=2**30)
CHILD = "import subprocess; child = subprocess.Popen(['/bin/sleep', '600']); "
NUMBERS = "import os; open('numbers', 'w').write(f'{os.getpid()} {child.pid}'); "


async def python(program: str, where: Path, limits: Limits = LIMITS) -> Ended:
    environment = process.minimal_environment(where, binary=Path(sys.executable))
    return await process.run([sys.executable, "-c", program], where=where, environment=environment, limits=limits)


async def test_nothing_of_our_environment_is_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIVER_BOOTSTRAP_TOKEN", "abc123.0123456789abcdef")
    ended = await python("import os; print(sorted(os.environ), os.environ['HOME'], os.getcwd())", tmp_path)
    assert ended.output.strip() == f"['HOME', 'LANG', 'PATH'] {tmp_path} {tmp_path}"


def test_its_own_environment_s_programs_come_first(tmp_path: Path) -> None:
    told = process.minimal_environment(tmp_path, binary=Path("/opt/scanner/bin/it"))
    assert told["PATH"] == "/opt/scanner/bin:/usr/local/bin:/usr/bin:/bin"


async def test_it_has_no_input_and_a_session_of_its_own(tmp_path: Path) -> None:
    ended = await python("import os, sys; print(repr(sys.stdin.read()), os.getsid(0) == os.getpid())", tmp_path)
    assert ended == Ended(0, "'' True\n")


async def test_its_code_and_the_end_of_its_output_come_back(tmp_path: Path) -> None:
    flood = (
        "import sys; [sys.stdout.write('x' * 65536) for _ in range(320)]; print('end', file=sys.stderr); sys.exit(3)"
    )
    ended = await python(flood, tmp_path)
    assert ended.code == 3
    assert len(ended.output) == 2**20
    assert ended.output.endswith("xend\n")


async def test_what_it_leaves_behind_dies_with_it_and_does_not_hold_us_up(
    tmp_path: Path, still_alive: Callable[[Path], list[int]], until: Callable[..., Any]
) -> None:
    async with asyncio.timeout(10):
        ended = await python(CHILD + NUMBERS + "print('done')", tmp_path)
    assert ended == Ended(0, "done\n")
    await until(lambda: not still_alive(tmp_path / "numbers"))


async def test_cancelling_kills_the_whole_group_even_what_ignores_signals(
    tmp_path: Path, still_alive: Callable[[Path], list[int]], until: Callable[..., Any]
) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); "
    running = asyncio.create_task(python(deaf + CHILD + NUMBERS + "time.sleep(600)", tmp_path))
    await until(lambda: (tmp_path / "numbers").exists() and len(still_alive(tmp_path / "numbers")) == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until(lambda: not still_alive(tmp_path / "numbers"), seconds=1)


async def test_a_group_that_takes_too_much_memory_is_killed(
    tmp_path: Path, still_alive: Callable[[Path], list[int]], until: Callable[..., Any]
) -> None:
    """It is its child that takes it."""
    hungry = [sys.executable, "-c", "x = bytearray(300 * 2**20); import time; time.sleep(600)"]
    program = f"import subprocess; child = subprocess.Popen({hungry!r}); {NUMBERS} child.wait()"
    with pytest.raises(TooMuchMemory):
        await python(program, tmp_path, Limits(seconds=60, memory_bytes=200 * 2**20))
    await until(lambda: not still_alive(tmp_path / "numbers"))


async def test_memory_that_processes_share_is_counted_once(tmp_path: Path) -> None:
    """Some scanners fork a worker for each processor."""
    program = (
        "import os, time; x = bytearray(120 * 2**20)\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0: time.sleep(1.2); os._exit(0)\n"
        "[os.wait() for _ in range(4)]; print('done')"
    )
    ended = await python(program, tmp_path, Limits(seconds=60, memory_bytes=300 * 2**20))
    assert ended == Ended(0, "done\n")


async def test_it_may_not_burn_the_processors_for_longer_than_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    ended = await python("while True: pass", tmp_path, Limits(seconds=1, memory_bytes=2**30))
    assert ended.code == -9


async def test_it_may_not_write_files_without_end(tmp_path: Path) -> None:
    program = "import os; f = open('big', 'wb'); f.truncate(256 * 2**20); f.seek(0, 2); f.write(b'x'); f.flush()"
    assert (await python(program, tmp_path)).code != 0
    assert (tmp_path / "big").stat().st_size == 256 * 2**20


async def test_it_dumps_no_core(tmp_path: Path) -> None:
    ended = await python("import resource; print(resource.getrlimit(resource.RLIMIT_CORE))", tmp_path)
    assert ended.output == "(0, 0)\n"


async def test_a_program_that_is_not_there_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no-such"):
        await process.run(["/no-such"], where=tmp_path, environment={}, limits=LIMITS)
