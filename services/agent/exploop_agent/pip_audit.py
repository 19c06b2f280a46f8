"""pip-audit's own report: it writes no SARIF."""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from exploop_agent.findings import Finding, short


class _Vulnerability(Struct, frozen=True):
    id: str
    description: str = ""
    fix_versions: list[str] = []


class _Dependency(Struct, frozen=True):
    name: str
    version: str = ""
    skip_reason: str | None = None
    vulns: list[_Vulnerability] = []


class _Audit(Struct, frozen=True):
    dependencies: list[_Dependency]


def findings(raw: bytes, *, tool: str) -> Iterator[Finding]:
    """Every known vulnerability, and what could not be looked up. Raises msgspec.DecodeError."""
    document = msgspec.json.decode(raw, type=_Audit)
    for dependency in document.dependencies:
        if dependency.skip_reason is not None:
            text = f"{dependency.name} was not checked: {dependency.skip_reason}"
            yield Finding(tool=tool, rule_id="not-checked", severity="info", message=short(text))
        for vulnerability in dependency.vulns:
            mended = f"; mended in {', '.join(vulnerability.fix_versions)}" if vulnerability.fix_versions else ""
            text = f"{dependency.name} {dependency.version}: {vulnerability.description}{mended}"
            yield Finding(tool=tool, rule_id=short(vulnerability.id), severity="high", message=short(text))
