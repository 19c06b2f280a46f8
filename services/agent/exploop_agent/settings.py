"""What the agent is told, by environment variables or flags; a flag wins."""

import argparse
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

VERSION = "1.0.0"


@dataclass(frozen=True, slots=True)
class Settings:
    """``capabilities`` empty: whatever the installed scanners offer. ``workspace`` None: no path targets."""

    api_url: str
    bootstrap_token: str | None
    name: str
    region: str | None
    capabilities: tuple[str, ...]
    labels: tuple[str, ...]
    max_concurrent: int
    state: Path
    workspace: Path | None
    scanners: Path | None
    allow_private_targets: bool
    drain: timedelta
    poll: timedelta
    max_memory_bytes: int


class SettingsError(Exception):
    """Names what is missing or wrong."""


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="exploop-agent",
        description="Scans for the platform's tenants: registers, polls, runs scanners, reports.",
        epilog="Each flag has an environment variable; the flag wins. The bootstrap token is read from "
        "REDIVER_BOOTSTRAP_TOKEN only: a flag would show it in the list of processes.",
    )
    made.add_argument("--platform", action="store_true", help="run as a platform agent")
    made.add_argument("--api-url", help="the gateway (EXPLOOP_API_URL)")
    made.add_argument("--name", help="this agent's name (AGENT_NAME; default: the host's)")
    made.add_argument("--region", help="AGENT_REGION")
    made.add_argument("--capabilities", help="comma-separated (AGENT_CAPABILITIES; default: the installed scanners)")
    made.add_argument("--labels", help="comma-separated (AGENT_LABELS)")
    made.add_argument("--max-concurrent", type=int, help="jobs at once (AGENT_MAX_CONCURRENT; 1)")
    made.add_argument("--state-dir", type=Path, help="key and unsent results (AGENT_STATE_DIR)")
    made.add_argument("--workspace", type=Path, help="<tenant_id>/ folders that may be scanned (AGENT_WORKSPACE)")
    made.add_argument("--scanners-dir", type=Path, help="the scanners' environments (AGENT_SCANNERS_DIR)")
    return made


def read(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Settings:
    """Raises SettingsError."""
    api_url = arguments.api_url or environ.get("EXPLOOP_API_URL")
    if not api_url:
        raise SettingsError("EXPLOOP_API_URL or --api-url is missing")
    workspace = arguments.workspace or environ.get("AGENT_WORKSPACE")
    scanners = arguments.scanners_dir or environ.get("AGENT_SCANNERS_DIR")
    try:
        return Settings(
            api_url=api_url.rstrip("/"),
            bootstrap_token=environ.get("REDIVER_BOOTSTRAP_TOKEN"),
            name=arguments.name or environ.get("AGENT_NAME") or platform.node(),
            region=arguments.region or environ.get("AGENT_REGION"),
            capabilities=_words(arguments.capabilities or environ.get("AGENT_CAPABILITIES", "")),
            labels=_words(arguments.labels or environ.get("AGENT_LABELS", "")),
            max_concurrent=arguments.max_concurrent or int(environ.get("AGENT_MAX_CONCURRENT", "1")),
            state=Path(arguments.state_dir or environ.get("AGENT_STATE_DIR", "exploop-agent")).resolve(),
            workspace=Path(workspace).resolve() if workspace else None,
            scanners=Path(scanners).resolve() if scanners else None,
            allow_private_targets=environ.get("AGENT_ALLOW_PRIVATE_TARGETS") == "true",
            drain=timedelta(seconds=float(environ.get("AGENT_DRAIN_SECONDS", "30"))),
            poll=timedelta(seconds=float(environ.get("AGENT_POLL_SECONDS", "60"))),
            max_memory_bytes=int(environ.get("AGENT_MAX_SCANNER_MEMORY_MB", "2048")) * 2**20,
        )
    except ValueError as error:
        raise SettingsError(f"a number is expected: {error}") from error


def from_command_line(argv: Sequence[str] | None = None) -> Settings:
    return read(parser().parse_args(argv), os.environ)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
