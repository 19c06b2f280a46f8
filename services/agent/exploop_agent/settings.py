"""What the agent is told, by environment variables or flags; a flag wins."""

import argparse
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

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


@dataclass(frozen=True, slots=True)
class _Bounds:
    variable: str
    default: int
    least: int
    most: int


_MAX_CONCURRENT: Final = _Bounds("AGENT_MAX_CONCURRENT", 1, 1, 100)
_DRAIN: Final = _Bounds("AGENT_DRAIN_SECONDS", 30, 0, 7200)
# The platform holds a poll for 60 seconds at most.
_POLL: Final = _Bounds("AGENT_POLL_SECONDS", 60, 1, 60)
_MAX_MEMORY: Final = _Bounds("AGENT_MAX_SCANNER_MEMORY_MB", 2048, 64, 1_048_576)


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
    return Settings(
        api_url=_address(api_url),
        bootstrap_token=environ.get("REDIVER_BOOTSTRAP_TOKEN") or None,
        name=arguments.name or environ.get("AGENT_NAME") or platform.node(),
        region=arguments.region or environ.get("AGENT_REGION") or None,
        capabilities=_words(arguments.capabilities or environ.get("AGENT_CAPABILITIES", "")),
        labels=_words(arguments.labels or environ.get("AGENT_LABELS", "")),
        max_concurrent=int(_number(environ, _MAX_CONCURRENT, flag=arguments.max_concurrent)),
        state=Path(arguments.state_dir or environ.get("AGENT_STATE_DIR") or "exploop-agent").resolve(),
        workspace=Path(workspace).resolve() if workspace else None,
        scanners=Path(scanners).resolve() if scanners else None,
        allow_private_targets=_switch(environ, "AGENT_ALLOW_PRIVATE_TARGETS"),
        drain=timedelta(seconds=_number(environ, _DRAIN)),
        poll=timedelta(seconds=_number(environ, _POLL)),
        max_memory_bytes=int(_number(environ, _MAX_MEMORY)) * 2**20,
    )


def from_command_line(argv: Sequence[str] | None = None) -> Settings:
    return read(parser().parse_args(argv), os.environ)


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError(f"EXPLOOP_API_URL: an http or https address is expected, not {text!r}")
    return text.rstrip("/")


def _number(environ: Mapping[str, str], bounds: _Bounds, *, flag: int | None = None) -> float:
    text = str(flag) if flag is not None else environ.get(bounds.variable) or str(bounds.default)
    try:
        number = float(text)
    except ValueError as error:
        raise SettingsError(f"{bounds.variable}: a number is expected, not {text!r}") from error
    if not bounds.least <= number <= bounds.most:
        raise SettingsError(f"{bounds.variable}: must be between {bounds.least} and {bounds.most}, not {text}")
    return number


def _switch(environ: Mapping[str, str], variable: str) -> bool:
    text = environ.get(variable) or "false"
    if text not in {"true", "false"}:
        raise SettingsError(f"{variable}: true or false is expected, not {text!r}")
    return text == "true"


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
