"""Scanners' reports, read. A report is untrusted input: bounded in size, strict in form."""

from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from exploop_agent import pip_audit, sarif
from exploop_agent.findings import Finding, ReportUnreadable
from exploop_agent.scanners import Report

MAX_REPORT_BYTES: Final = 64 * 2**20
MAX_FINDINGS: Final = 5_000


def read(report: Path, kind: Report, *, tool: str, root: Path | None) -> list[Finding]:
    """At most 5,000 findings. ``root``: what paths are made relative to. Raises ReportUnreadable."""
    raw = _bytes(report)
    try:
        match kind:
            case Report.SARIF:
                found = sarif.findings(raw, tool=tool, root=root)
            case Report.PIP_AUDIT:
                found = pip_audit.findings(raw, tool=tool)
        return list(islice(found, MAX_FINDINGS))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReportUnreadable("the scanner's report cannot be read") from error


def _bytes(report: Path) -> bytes:
    try:
        if report.stat().st_size > MAX_REPORT_BYTES:
            raise ReportUnreadable("the scanner's report is too large")
        return report.read_bytes()
    except OSError as error:
        raise ReportUnreadable("the scanner left no report") from error
