"""Scanners' reports, read into one shape. A report is untrusted input: bounded in size, strict in form."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from exploop_agent.scanners import Report

MAX_REPORT_BYTES: Final = 64 * 2**20
MAX_FINDINGS: Final = 5_000
SEVERITIES: Final = ("critical", "high", "medium", "low", "info")
_MAX_TEXT: Final = 1_000

_LEVELS: Final[Mapping[str, str]] = {"error": "high", "warning": "medium", "note": "low", "none": "info"}


class Finding(Struct, frozen=True, kw_only=True):
    """``severity``: one of `SEVERITIES`. ``path`` is relative to the target."""

    tool: str
    rule_id: str
    severity: str
    message: str
    path: str | None = None
    line: int | None = None


class ReportUnreadable(Exception):
    """The report is missing, too large or not what the scanner promised."""


class _Message(Struct, frozen=True):
    text: str = ""


class _Artifact(Struct, frozen=True):
    uri: str = ""


class _Region(Struct, frozen=True, rename={"start_line": "startLine"}):
    start_line: int | None = None


class _Physical(Struct, frozen=True, rename={"artifact": "artifactLocation"}):
    artifact: _Artifact = _Artifact()
    region: _Region = _Region()


class _Location(Struct, frozen=True, rename={"physical": "physicalLocation"}):
    physical: _Physical = _Physical()


class _Configuration(Struct, frozen=True):
    level: str = "warning"


class _Rule(Struct, frozen=True, rename={"configuration": "defaultConfiguration"}):
    id: str = ""
    configuration: _Configuration = _Configuration()
    properties: dict[str, object] = {}


class _Result(Struct, frozen=True, rename={"rule_id": "ruleId", "rule_index": "ruleIndex"}):
    rule_id: str = ""
    rule_index: int | None = None
    level: str | None = None
    message: _Message = _Message()
    locations: list[_Location] = []
    properties: dict[str, object] = {}


class _Driver(Struct, frozen=True):
    rules: list[_Rule] = []


class _Tool(Struct, frozen=True):
    driver: _Driver = _Driver()


class _Run(Struct, frozen=True):
    tool: _Tool = _Tool()
    results: list[_Result] = []


class _Sarif(Struct, frozen=True):
    runs: list[_Run]


class _Vulnerability(Struct, frozen=True):
    id: str
    description: str = ""
    fix_versions: list[str] = []


class _Dependency(Struct, frozen=True):
    name: str
    version: str = ""
    vulns: list[_Vulnerability] = []


class _Audit(Struct, frozen=True):
    dependencies: list[_Dependency]


def read(report: Path, kind: Report, *, tool: str, root: Path | None) -> list[Finding]:
    """At most 5,000 findings. ``root``: what paths are made relative to. Raises ReportUnreadable."""
    raw = _bytes(report)
    try:
        match kind:
            case Report.SARIF:
                found = _sarif(msgspec.json.decode(raw, type=_Sarif), tool=tool, root=root)
            case Report.PIP_AUDIT:
                found = _audit(msgspec.json.decode(raw, type=_Audit), tool=tool)
        return [finding for finding, _ in zip(found, range(MAX_FINDINGS), strict=False)]
    except (msgspec.DecodeError, RecursionError) as error:
        raise ReportUnreadable("the scanner's report cannot be read") from error


def _bytes(report: Path) -> bytes:
    try:
        if report.stat().st_size > MAX_REPORT_BYTES:
            raise ReportUnreadable("the scanner's report is too large")
        return report.read_bytes()
    except OSError as error:
        raise ReportUnreadable("the scanner left no report") from error


def _sarif(document: _Sarif, *, tool: str, root: Path | None) -> Iterator[Finding]:
    for run in document.runs:
        rules = {rule.id: rule for rule in run.tool.driver.rules}
        for result in run.results:
            rule = rules.get(result.rule_id, _Rule())
            physical = result.locations[0].physical if result.locations else _Physical()
            yield Finding(
                tool=tool,
                rule_id=_short(result.rule_id),
                severity=_severity(result, rule),
                message=_short(result.message.text),
                path=_relative(physical.artifact.uri, root),
                line=physical.region.start_line,
            )


def _severity(result: _Result, rule: _Rule) -> str:
    """The scanner's own word where it has one, else the level of SARIF."""
    own = str(result.properties.get("issue_severity", "")).lower()
    if own in {"critical", "high", "medium", "low"}:
        return own
    return _LEVELS.get(result.level or rule.configuration.level, "info")


def _audit(document: _Audit, *, tool: str) -> Iterator[Finding]:
    for dependency in document.dependencies:
        for vulnerability in dependency.vulns:
            mended = f"; mended in {', '.join(vulnerability.fix_versions)}" if vulnerability.fix_versions else ""
            text = f"{dependency.name} {dependency.version}: {vulnerability.description}{mended}"
            yield Finding(tool=tool, rule_id=_short(vulnerability.id), severity="high", message=_short(text))


def _relative(uri: str, root: Path | None) -> str | None:
    text = uri.removeprefix("file://")
    if root is not None:
        text = text.removeprefix(f"{root}/")
    return _short(text) or None


def _short(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
