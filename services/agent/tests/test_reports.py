"""Scanners' reports, read into one shape; a report is untrusted input."""

import json
from pathlib import Path
from typing import Any

import pytest

from exploop_agent import reports
from exploop_agent.findings import Finding, ReportUnreadable
from exploop_agent.scanners import Report


def read(tmp_path: Path, document: object, *, kind: Report = Report.SARIF, root: Path | None = None) -> list[Finding]:
    file = tmp_path / "report"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return reports.read(file, kind, tool="tool", root=root)


def sarif(*results: dict[str, Any], rules: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x", "rules": rules}}, "results": results}]}


def at(uri: str, line: int | None = None) -> list[dict[str, Any]]:
    region = {"startLine": line} if line is not None else {}
    return [{"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}]


def test_a_result_becomes_a_finding(tmp_path: Path) -> None:
    told = sarif({"ruleId": "R", "level": "error", "message": {"text": "bad"}, "locations": at("a.py", 3)})
    (found,) = read(tmp_path, told)
    assert found == Finding(tool="tool", rule_id="R", severity="high", message="bad", path="a.py", line=3)


@pytest.mark.parametrize(
    ("result", "rule", "severity"),
    [
        ({"level": "error"}, {}, "high"),
        ({"level": "warning"}, {}, "medium"),
        ({"level": "note"}, {}, "low"),
        ({"level": "none"}, {}, "info"),
        ({"level": "what"}, {}, "info"),
        ({}, {}, "medium"),
        ({}, {"defaultConfiguration": {"level": "error"}}, "high"),
        ({"properties": {"issue_severity": "LOW"}, "level": "error"}, {}, "low"),
        ({"level": "note"}, {"properties": {"security-severity": "9.4"}}, "critical"),
        ({"level": "note"}, {"properties": {"security-severity": "5"}}, "medium"),
        ({"level": "error"}, {"properties": {"security-severity": 3.9}}, "low"),
        ({"level": "error"}, {"properties": {"security-severity": "7.0"}}, "high"),
        ({"level": "error"}, {"properties": {"security-severity": "0.0"}}, "high"),
        ({"level": "error"}, {"properties": {"security-severity": "nan"}}, "high"),
        ({"level": "error"}, {"properties": {"security-severity": ["x"]}}, "high"),
    ],
)
def test_severity_is_the_scanner_s_word_or_the_rule_s_score_or_the_level(
    tmp_path: Path, result: dict[str, Any], rule: dict[str, Any], severity: str
) -> None:
    (found,) = read(tmp_path, sarif({"ruleId": "R", **result}, rules=({"id": "R", **rule},)))
    assert found.severity == severity


@pytest.mark.parametrize(
    "named", [{"ruleId": "B"}, {"ruleIndex": 1}, {"rule": {"id": "B"}}, {"rule": {"index": 1}}, {"ruleId": "B/sub"}]
)
def test_a_rule_is_named_in_every_way_of_sarif(tmp_path: Path, named: dict[str, Any]) -> None:
    (found,) = read(tmp_path, sarif(named, rules=({"id": "A"}, {"id": "B"})))
    assert found.rule_id.partition("/")[0] == "B"


@pytest.mark.parametrize("index", [-1, 2, 10**6])
def test_an_index_of_no_rule_is_a_finding_without_a_name(tmp_path: Path, index: int) -> None:
    (found,) = read(tmp_path, sarif({"ruleIndex": index}, rules=({"id": "A"}, {"id": "B"})))
    assert found.rule_id == ""


@pytest.mark.parametrize("uri", ["file:///work/my%20shop/a.py", "/work/my shop/a.py", "work/my shop/a.py", "a.py"])
def test_paths_are_relative_to_the_target(tmp_path: Path, uri: str) -> None:
    (found,) = read(tmp_path, sarif({"locations": at(uri)}), root=Path("/work/my shop"))
    assert found.path == "a.py"


def test_what_passes_or_is_suppressed_is_no_finding(tmp_path: Path) -> None:
    told = sarif(
        {"kind": "pass"}, {"kind": "notApplicable"}, {"kind": "informational"},
        {"suppressions": [{"kind": "inSource"}]}, {"kind": "fail", "suppressions": []}, {"kind": "open"},
    )  # fmt: skip
    assert len(read(tmp_path, told)) == 2


def test_a_result_of_nothing_and_several_runs_are_read(tmp_path: Path) -> None:
    told = {"runs": [{"results": [{}]}, {}, {"results": [{"locations": [{}]}]}]}
    assert [found.path for found in read(tmp_path, told)] == [None, None]


def test_text_is_cut_and_holds_no_nul(tmp_path: Path) -> None:
    (found,) = read(tmp_path, sarif({"ruleId": "r" * 2000, "message": {"text": "a\x00b"}, "locations": at("p" * 2000)}))
    assert (len(found.rule_id), len(found.path or "")) == (1000, 1000)
    assert found.message == "a\ufffdb"


def test_no_more_than_5000_findings_are_taken(tmp_path: Path) -> None:
    assert len(read(tmp_path, sarif(*[{}] * 5001))) == 5000


@pytest.mark.parametrize(
    "document",
    [
        "", "{", "[]", "null", "{}", '{"runs": null}', '{"runs": [{"results": [{"ruleId": 1}]}]}', '{"runs": [1]}',
        '{"runs": [{"results": [{"message": "text"}]}]}', '{"runs": [{"results": {}}]}',
        json.dumps(sarif({"locations": at("a", -1)})), json.dumps(sarif({"locations": at("a", 10**40)})),
        '{"runs": [{"results": [{"message": {"text": "\\ud800"}}]}]}',
        '{"runs": [], "x": ' + "[" * 10_000 + "]" * 10_000 + "}",
        '{"runs": [{"results": [{"properties": ' + '{"a":' * 10_000 + "1" + "}" * 10_000 + "}]}]}",
        '{"runs": [{"results": [{"properties": {"a": NaN}}]}]}',
    ],
    ids=lambda document: str(document)[:40],
)  # fmt: skip
def test_a_malformed_report_is_unreadable(tmp_path: Path, document: str) -> None:
    with pytest.raises(ReportUnreadable, match="cannot be read"):
        read(tmp_path, document)


def test_bytes_that_are_no_text_are_unreadable(tmp_path: Path) -> None:
    (tmp_path / "report").write_bytes(b'{"runs": [{"results": [{"ruleId": "\xff"}]}]}')
    with pytest.raises(ReportUnreadable):
        reports.read(tmp_path / "report", Report.SARIF, tool="tool", root=None)


def test_a_report_of_more_than_64_megabytes_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "report").open("wb") as out:
        out.truncate(64 * 2**20 + 1)
    with pytest.raises(ReportUnreadable, match="too large"):
        reports.read(tmp_path / "report", Report.SARIF, tool="tool", root=None)


@pytest.mark.parametrize("missing", ["report", "."])
def test_a_report_that_is_not_there_is_said_to_be_missing(tmp_path: Path, missing: str) -> None:
    with pytest.raises(ReportUnreadable, match="no report"):
        reports.read(tmp_path / missing, Report.SARIF, tool="tool", root=None)


PIP_AUDIT = {
    "dependencies": [
        {
            "name": "jinja2",
            "version": "2.10",
            "vulns": [
                {
                    "id": "PYSEC-2019-217",
                    "fix_versions": ["2.10.1"],
                    "aliases": ["CVE-2019-10906"],
                    "description": "str.format_map allows a sandbox escape.",
                }
            ],
        },
        {"name": "flask", "version": "3.1.2", "vulns": []},
        {"name": "ours", "skip_reason": "Dependency not found on PyPI and could not be audited: ours (1.0)"},
    ],
    "fixes": [],
}


def test_pip_audit_tells_vulnerabilities_and_what_it_could_not_check(tmp_path: Path) -> None:
    vulnerable, unknown = read(tmp_path, PIP_AUDIT, kind=Report.PIP_AUDIT)
    assert vulnerable == Finding(
        tool="tool",
        rule_id="PYSEC-2019-217",
        severity="high",
        message="jinja2 2.10: str.format_map allows a sandbox escape.; mended in 2.10.1",
    )
    assert (unknown.rule_id, unknown.severity) == ("not-checked", "info")
    assert unknown.message.startswith("ours was not checked: Dependency not found")


@pytest.mark.parametrize("document", ["[]", "{}", '{"dependencies": [{"version": "1"}]}', '{"dependencies": 3}'])
def test_a_malformed_audit_is_unreadable(tmp_path: Path, document: str) -> None:
    with pytest.raises(ReportUnreadable):
        read(tmp_path, document, kind=Report.PIP_AUDIT)
