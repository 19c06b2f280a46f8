"""The scanners: a table. A scanner is a row: how it is called, what it can be aimed at, how its report is read."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final


class Report(Enum):
    """How a scanner's report is read."""

    SARIF = "sarif"
    PIP_AUDIT = "pip-audit"


class Aim(Enum):
    """What a scanner is aimed at."""

    CODE = "code"
    NETWORK = "network"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Scanner:
    """``argv`` is a template for ``$target``, ``$report`` (a file), its ``$folder``, and ``$rules``, which are ours.

    ``findings_exit``: codes that mean that it ran, findings or not. ``environment``: its own, where we install it.
    """

    name: str
    binary: str
    argv: tuple[str, ...]
    aim: Aim = Aim.CODE
    report: Report = Report.SARIF
    report_name: str = "report"
    findings_exit: frozenset[int] = frozenset({0, 1})
    environment: str | None = None


# The end of most calls: a SARIF report into a file, then the target where it cannot be read as an option.
_TRIVY: Final = ("--quiet", "--format", "sarif", "--output", "$report", "--", "$target")

_ROWS: Final = (
    Scanner(
        "bandit",
        "bandit",
        ("--quiet", "--recursive", "--format", "sarif", "--output", "$report", "--", "$target"),
        environment="bandit",
    ),
    Scanner(
        "semgrep",
        "semgrep",
        (
            "scan", "--metrics", "off", "--disable-version-check", "--quiet", "--config", "$rules", "--no-git-ignore",
            "--sarif", "--sarif-output", "$report", "--", "$target",
        ),
        environment="semgrep",
    ),
    Scanner(
        "checkov",
        "checkov",
        ("--quiet", "--compact", "--output", "sarif", "--output-file-path", "$folder", "--directory", "$target"),
        report_name="results_sarif.sarif",
        environment="checkov",
    ),
    Scanner(
        "dependency",
        "pip-audit",
        ("--progress-spinner", "off", "--format", "json", "--output", "$report", "--", "$target"),
        report=Report.PIP_AUDIT,
        environment="pip-audit",
    ),
    Scanner(
        "gitleaks",
        "gitleaks",
        ("dir", "--no-banner", "--report-format", "sarif", "--report-path", "$report", "--", "$target"),
    ),
    Scanner("trivy", "trivy", ("filesystem", *_TRIVY)),
    Scanner("trivy-fs", "trivy", ("filesystem", *_TRIVY)),
    Scanner("trivy-config", "trivy", ("config", *_TRIVY)),
    Scanner("trivy-image", "trivy", ("image", *_TRIVY), aim=Aim.IMAGE),
    Scanner("trivy-full", "trivy", ("filesystem", "--scanners", "vuln,misconfig,secret,license", *_TRIVY)),
    Scanner(
        "nuclei",
        "nuclei",
        ("-silent", "-disable-update-check", "-sarif-export", "$report", "-target", "$target"),
        aim=Aim.NETWORK,
    ),
    Scanner("gosec", "gosec", ("-quiet", "-fmt", "sarif", "-out", "$report", "--", "$target/...")),
    Scanner("grype", "grype", ("--quiet", "--output", "sarif", "--file", "$report", "--", "dir:$target")),
    Scanner("tfsec", "tfsec", ("--no-color", "--format", "sarif", "--out", "$report", "--", "$target")),
    Scanner(
        "brakeman",
        "brakeman",
        ("--quiet", "--no-pager", "--format", "sarif", "--output", "$report", "--path", "$target"),
        findings_exit=frozenset({0, 3}),
    ),
    Scanner(
        "eslint",
        "eslint",
        ("--format", "@microsoft/eslint-formatter-sarif", "--output-file", "$report", "--", "$target"),
    ),
)  # fmt: skip

TABLE: Final[Mapping[str, Scanner]] = {row.name: row for row in _ROWS}


def locate(scanner: Scanner, scanners_dir: Path | None) -> Path | None:
    """Its binary: in its own environment here, or on the PATH; None when it is not installed."""
    if scanner.environment is not None and scanners_dir is not None:
        own = scanners_dir / scanner.environment / "bin" / scanner.binary
        if own.exists():
            return own
    found = shutil.which(scanner.binary)
    return Path(found) if found is not None else None


def installed(scanners_dir: Path | None) -> dict[str, Path]:
    """Every scanner of the table that can really run here."""
    located = {name: locate(scanner, scanners_dir) for name, scanner in TABLE.items()}
    return {name: path for name, path in located.items() if path is not None}


def command(scanner: Scanner, binary: Path, *, target: str, report: Path) -> list[str]:
    """The argument list; never a shell. ``target`` stands after ``--`` wherever the scanner knows it."""
    values = {
        "target": target,
        "report": str(report),
        "folder": str(report.parent),
        "rules": str(files(__package__).joinpath("rules/semgrep.yaml")),
    }
    return [str(binary), *(Template(word).substitute(values) for word in scanner.argv)]
