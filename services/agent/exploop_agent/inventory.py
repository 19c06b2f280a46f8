"""What `collect` and `health_check` jobs tell: facts about this agent and its machine, measured when asked for."""

import asyncio
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil

from exploop_agent import process
from exploop_agent.process import Limits, TooMuchMemory
from exploop_agent.settings import VERSION
from exploop_agent.table import TABLE

_VERSION_LIMITS: Final = Limits(seconds=20, memory_bytes=2**30)


def usage(state: Path) -> dict[str, float]:
    """Percentages of processor, memory and disk in use."""
    return {
        "cpu_percent": psutil.cpu_percent(),
        "memory_percent": psutil.virtual_memory().percent,
        "disk_percent": psutil.disk_usage(str(state)).percent,
    }


async def collect(kinds: Sequence[str], *, tools: Mapping[str, Path], state: Path) -> dict[str, object]:
    """The inventory of this agent: host, tools, versions; all of them when none is named."""
    wanted = set(kinds) or {"host", "tools", "versions"}
    told: dict[str, object] = {}
    if "host" in wanted:
        told["host"] = _host(state)
    if "tools" in wanted:
        told["tools"] = sorted(tools)
    if "versions" in wanted:
        told["versions"] = {"exploop-agent": VERSION, **await _versions(tools)}
    return told


async def health(*, tools: Mapping[str, Path], state: Path) -> dict[str, object]:
    """Can this agent work? Each check, and the whole."""
    now = usage(state)
    checks = {
        "tools_installed": bool(tools),
        "state_writable": os.access(state, os.W_OK),
        "disk_has_room": now["disk_percent"] < 95,
        "memory_has_room": now["memory_percent"] < 95,
        "git_installed": shutil.which("git") is not None,
    }
    return {"healthy": all(ok for name, ok in checks.items() if name != "git_installed"), "checks": checks, **now}


def _host(state: Path) -> dict[str, object]:
    return {
        "name": platform.node(),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "disk_free_bytes": psutil.disk_usage(str(state)).free,
    }


async def _versions(tools: Mapping[str, Path]) -> dict[str, str]:
    """What each binary says of its version, asked once a binary."""
    variables = {path: TABLE[name].variables for name, path in tools.items()}
    said = {path: await _version(path, variables[path]) for path in variables}
    return {name: said[path] for name, path in sorted(tools.items())}


async def _version(binary: Path, variables: Mapping[str, str]) -> str:
    with tempfile.TemporaryDirectory(prefix="exploop-", ignore_cleanup_errors=True) as home:
        asked = process.run(
            [str(binary), "--version"],
            where=Path(home),
            environment={**process.minimal_environment(Path(home), binary=binary), **variables},
            limits=_VERSION_LIMITS,
        )
        try:
            async with asyncio.timeout(_VERSION_LIMITS.seconds):
                said = (await asked).output
        except (TimeoutError, OSError, TooMuchMemory):
            said = ""
    return said.strip().split("\n")[0].strip()[:100] or "does not say"
