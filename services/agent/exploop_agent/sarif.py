"""SARIF, as far as findings need it: what scanners write into it differs more than the format says."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import msgspec
from msgspec import Struct

from exploop_agent.findings import Finding, Line, short

# Kinds of results that say that nothing is wrong.
_NOT_FOUND: Final = frozenset({"pass", "notApplicable", "informational"})
_SCORES: Final = ((9.0, "critical"), (7.0, "high"), (4.0, "medium"), (0.0, "low"))
_LEVELS: Final[Mapping[str, str]] = {"error": "high", "warning": "medium", "note": "low", "none": "info"}


class _Message(Struct, frozen=True):
    text: str = ""


class _Artifact(Struct, frozen=True):
    uri: str = ""


class _Region(Struct, frozen=True, rename={"start_line": "startLine"}):
    start_line: Line | None = None


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


class _Reference(Struct, frozen=True):
    id: str | None = None
    index: int = -1


class _Result(Struct, frozen=True, rename={"rule_id": "ruleId", "rule_index": "ruleIndex"}):
    """A result names its rule by ``ruleId``, by ``ruleIndex``, or by ``rule`` with either in it."""

    rule_id: str | None = None
    rule_index: int = -1
    rule: _Reference = _Reference()
    kind: str = "fail"
    level: str | None = None
    message: _Message = _Message()
    locations: list[_Location] = []
    suppressions: list[object] | None = None
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


def findings(raw: bytes, *, tool: str, root: Path | None) -> Iterator[Finding]:
    """What was found and not suppressed. Raises msgspec.DecodeError."""
    document = msgspec.json.decode(raw, type=_Sarif)
    for run in document.runs:
        rules = {rule.id: rule for rule in run.tool.driver.rules}
        for result in run.results:
            if result.suppressions or result.kind in _NOT_FOUND:
                continue
            rule_id = _rule_id(result, run.tool.driver.rules)
            physical = result.locations[0].physical if result.locations else _Physical()
            yield Finding(
                tool=tool,
                rule_id=short(rule_id),
                severity=_severity(result, rules.get(rule_id, _Rule())),
                message=short(result.message.text),
                path=_relative(physical.artifact.uri, root),
                line=physical.region.start_line,
            )


def _rule_id(result: _Result, rules: Sequence[_Rule]) -> str:
    named = result.rule_id or result.rule.id
    index = max(result.rule_index, result.rule.index)
    if named is None and 0 <= index < len(rules):
        return rules[index].id
    return named or ""


def _severity(result: _Result, rule: _Rule) -> str:
    """The scanner's own word where it has one, then its rule's score, else the level of SARIF."""
    own = str(result.properties.get("issue_severity", "")).lower()
    if own in {"critical", "high", "medium", "low"}:
        return own
    score = _score(rule.properties.get("security-severity"))
    if score is not None:
        return next(severity for least, severity in _SCORES if score >= least)
    return _LEVELS.get(result.level or rule.configuration.level, "info")


def _score(told: object) -> float | None:
    """A score as of CVSS, 0 to 10, written as text or number; 0 says nothing."""
    try:
        score = float(str(told))
    except ValueError:
        return None
    return score if 0 < score <= 10 else None


def _relative(uri: str, root: Path | None) -> str | None:
    """The path below the root; some scanners write it absolute, some without its first slash."""
    text = unquote(uri.removeprefix("file://"))
    if root is not None:
        text = text.removeprefix(f"{root}/").removeprefix(f"{root}/"[1:])
    return short(text) or None
