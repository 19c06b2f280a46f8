"""A scanner is a row: how it is called for each kind of target, how its way out is held, how its report is read."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

RULES: Final = Path(str(files(__package__).joinpath("rules")))


class Report(Enum):
    """How a scanner's report is read."""

    SARIF = "sarif"
    PIP_AUDIT = "pip-audit"


class Aim(Enum):
    """What a scanner is aimed at."""

    FOLDER = "a folder"
    FILE = "a file"
    NETWORK = "a host"
    IMAGE = "an image"


class WayOut(Enum):
    """What keeps a scanner's connections to addresses that were checked."""

    NOTHING = "nothing"
    # Its own option for a proxy: ``$proxy`` in its calls. Everything it sends goes there.
    OPTION = "option"
    # HTTP_PROXY and HTTPS_PROXY in its environment. Go's programs go past it to a loopback address.
    VARIABLES = "variables"


class Where(Enum):
    """A scanner's working directory: some configure themselves by it, or write paths relative to it."""

    JOB = "the job's own folder"
    TARGET = "the target's folder"
    RULES = "the folder of our rules"
    TOP = "/"


@dataclass(frozen=True, slots=True)
class Scanner:
    """``calls``: for what it can be aimed at, the arguments: templates for ``$target``, ``$report`` (a file), its
    ``$folder``, ``$proxy``, ``$resource``, ``$cache``, and ``$rules``, the folder of ours. ``variables``: added to its
    environment, templates too.

    ``environment``: its own, in the scanners' folder, where it is looked for first. ``resource``: what it needs
    besides its binary, under the same prefix. ``findings_exit``: codes that mean that it ran, findings or not.
    ``needs``: a file without which a folder is nothing for it. ``silent_when_clean``: no findings, no report.
    ``cached``: it fetches a database, which it keeps in ``$cache`` from job to job; one job at a time uses that.
    """

    name: str
    binary: str
    calls: Mapping[Aim, tuple[str, ...]]
    way_out: WayOut = WayOut.NOTHING
    report: Report = Report.SARIF
    report_name: str = "report"
    findings_exit: frozenset[int] = frozenset({0, 1})
    environment: str | None = None
    resource: str | None = None
    needs: str | None = None
    silent_when_clean: bool = False
    cached: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    where: Where = Where.JOB


@dataclass(frozen=True, slots=True)
class Target:
    """What a scanner is given. ``root``: what its findings' paths are relative to; None where they are not paths."""

    aim: Aim
    text: str
    root: Path | None = None


def locate(scanner: Scanner, scanners_dir: Path | None) -> Path | None:
    """Its binary: in its own environment here, or on the PATH; None when it, or what it needs, is not there."""
    candidates = []
    if scanner.environment is not None and scanners_dir is not None:
        candidates.append(scanners_dir / scanner.environment / "bin" / scanner.binary)
    if (found := shutil.which(scanner.binary)) is not None:
        candidates.append(Path(found))
    return next((binary for binary in candidates if _complete(scanner, binary)), None)


def installed(table: Mapping[str, Scanner], scanners_dir: Path | None) -> dict[str, Path]:
    """Every scanner of the table that can really run here."""
    located = {name: locate(scanner, scanners_dir) for name, scanner in table.items()}
    return {name: path for name, path in located.items() if path is not None}


@dataclass(frozen=True, slots=True)
class Call:
    """What the templates of one job's call are filled with. ``cache``: the folder of all scanners' caches."""

    binary: Path
    target: Target
    report: Path
    proxy: str
    cache: Path

    def filled(self, scanner: Scanner, template: str) -> str:
        values = {
            "target": self.target.text,
            "report": str(self.report),
            "folder": str(self.report.parent),
            "proxy": self.proxy,
            "cache": str(self.cache / scanner.binary),
            "resource": str(_prefix(self.binary) / (scanner.resource or "")),
            "rules": str(RULES),
        }
        return Template(template).substitute(values)


def command(scanner: Scanner, call: Call) -> list[str]:
    """The argument list; never a shell."""
    return [str(call.binary), *(call.filled(scanner, word) for word in scanner.calls[call.target.aim])]


def variables(scanner: Scanner, call: Call) -> dict[str, str]:
    """What its environment has besides the minimum."""
    told = {name: call.filled(scanner, value) for name, value in scanner.variables.items()}
    if scanner.way_out is WayOut.VARIABLES:
        told |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), call.proxy)
    return told


def working_directory(scanner: Scanner, *, target: Target, folder: Path) -> Path:
    """``folder``: the job's own."""
    match scanner.where:
        case Where.JOB:
            return folder
        case Where.TARGET:
            return target.root or folder
        case Where.RULES:
            return RULES
        case Where.TOP:
            return Path("/")


def _complete(scanner: Scanner, binary: Path) -> bool:
    if not os.access(binary, os.X_OK):
        return False
    return scanner.resource is None or (_prefix(binary) / scanner.resource).exists()


def _prefix(binary: Path) -> Path:
    return binary.parent.parent
