"""The page that lists the specification line by line: whatever it names is there, and whatever it must name it does."""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

from platform_core.domain.jobs import JobType
from platform_core.domain.plans import PLANS
from platform_core.domain.scanners import SCANNERS
from platform_core.wire.operations import EVERYTHING
from platform_server.kit.security import SecurityEvent
from platform_server.signals.limiter import LimiterSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/specification.md").read_text()
BEYOND = "Beyond the specification"

HEADINGS = """
    ## Key Components
    ### 1. System Tenant
    ### 2. Job Queue with Fair Scheduling
    ### 3. Bootstrap Tokens
    ### 4. Per-Plan Limits
    ## API Endpoints
    ### Admin Endpoints
    ### Tenant Endpoints
    ### Agent Endpoints (Public)
    ### Platform Agent Endpoints (API Key Auth)
    ### Long-Polling for Jobs
    ## Usage Examples
    ### Creating a Bootstrap Token (Admin)
    ### Registering an Agent
    ### Submitting a Job (Tenant)
    ### Agent Long-Polling for Jobs
    ### Agent Job Lifecycle
    ## Background Workers
    ### PlatformQueueWorker
    ### PlatformAgentHealthChecker
    ## Database Schema
    ### Platform Agent Fields (agents table)
    ### Bootstrap Tokens
    ### Platform Job Fields (commands table)
    ## Security Considerations
    ### 1. Bootstrap Token Security
    ### 2. Job Authentication
    ### 3. Tenant Isolation
    ### 4. Input Validation (P0 Security)
    ### 5. Rate Limiting (P2 Security)
    ### 6. Security Monitoring
    ## Deployment Guide
    ### Prerequisites
    ### Step 1: Apply Database Migrations
    ### Step 2: Create Bootstrap Token
    ### Step 3: Deploy Platform Agent
    ### Step 4: Configure Tenant Plan Limits
    ## Operations
    ### Monitoring Dashboards
    ### Alerting Rules
    ### Troubleshooting
    ## Migration Notes
    ## Related Documentation
"""

COLUMNS: Mapping[str, str] = {
    "agents": "is_platform_agent region",
    "bootstrap_tokens": """
        id token_hash token_prefix description status max_uses current_uses required_capabilities required_tools
        required_region expires_at created_by revoked_by revoked_at revoke_reason created_at updated_at
    """,
    "commands": """
        is_platform_job platform_agent_id queued_at queue_priority auth_token_hash auth_token_expires_at retry_count
    """,
}


@dataclass(frozen=True, slots=True)
class Line:
    heading: str
    says: str
    where: Sequence[str]
    tests: Sequence[str]


def lines_of(page: str) -> list[Line]:
    """The rows of every table, but for their heads."""
    lines, heading = [], ""
    for row in page.splitlines():
        if row.startswith("#"):
            heading = row.lstrip("# ")
        elif row.startswith("| ") and not row.startswith(("| ---", "| specification", "| call")):
            says, where, tests = row.strip("| ").split(" | ")
            lines.append(Line(heading, says, re.findall(r"`([^`]+)`", where), re.findall(r"`([^`]+)`", tests)))
    return lines


LINES = lines_of(PAGE)


@cache
def names_of_tests(file: Path) -> frozenset[str]:
    tree = ast.parse(file.read_text())
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(function.name for function in functions if function.name.startswith("test_"))


def under(heading: str) -> str:
    """What the lines under a heading say."""
    return "\n".join(line.says for line in LINES if line.heading == heading)


def endpoints() -> list[tuple[str, Line]]:
    called = re.compile(r"`((?:GET|POST|PUT|DELETE) /api/[^`]+)`")
    return [(found[1], line) for line in LINES if (found := called.fullmatch(line.says))]


def test_the_headings_are_those_of_the_specification_in_its_order() -> None:
    there = [row for row in PAGE.splitlines() if row.startswith(("## ", "### ")) and row != f"## {BEYOND}"]
    assert there == [heading.strip() for heading in HEADINGS.strip().splitlines()]


def test_under_every_heading_there_are_lines() -> None:
    parents = {
        heading.strip().removeprefix("## ")
        for heading, following in zip(HEADINGS.splitlines(), HEADINGS.splitlines()[1:], strict=False)
        if heading.strip().startswith("## ") and following.strip().startswith("### ")
    }
    there = {line.heading for line in LINES}
    assert {row.lstrip("# ") for row in PAGE.splitlines() if row.startswith("##")} - there == parents


@pytest.mark.parametrize("line", LINES, ids=[f"{line.heading}: {line.says[:60]}" for line in LINES])
def test_a_line_has_tests_that_exist_and_a_place_in_the_code(line: Line) -> None:
    assert line.tests
    for test in line.tests:
        file, name = test.split("::")
        assert name.partition("[")[0] in names_of_tests(ROOT / file), test
    assert line.where
    for place in line.where:
        assert (ROOT / place).exists() if "/" in place or place == "Makefile" else find_spec(place), place


def test_every_call_of_the_contract_stands_there_once_with_its_own_test() -> None:
    calls = [f"{operation.method.value} {operation.path}" for operation in EVERYTHING]
    assert sorted(call for call, _ in endpoints()) == sorted(calls)
    for call, line in endpoints():
        assert f"tests-e2e/test_every_operation.py::test_an_endpoint_answers[{call}]" in line.tests


def test_the_specification_names_21_of_them() -> None:
    assert len([call for call, line in endpoints() if line.heading != BEYOND]) == 21


def test_every_column_is_there_with_its_own_test() -> None:
    own = "libs/platform_server/tests/store/test_migrations.py::test_a_column_is_that_of_the_specification"
    there = {
        found[1]: line
        for line in LINES
        if (found := re.match(r"`((?:agents|bootstrap_tokens|commands)\.\w+) ", line.says))
    }
    assert set(there) == {f"{table}.{column}" for table, columns in COLUMNS.items() for column in columns.split()}
    for column, line in there.items():
        assert f"{own}[{column}]" in line.tests


@pytest.mark.parametrize("event", SecurityEvent)
def test_a_security_event_is_there(event: SecurityEvent) -> None:
    assert f"`{event.value}`" in under("6. Security Monitoring").splitlines()


@pytest.mark.parametrize(
    ("heading", "metric"),
    [
        ("6. Security Monitoring", "security_events_total"),
        ("6. Security Monitoring", "auth_failures_total"),
        ("6. Security Monitoring", "banned_ips_current"),
        ("6. Security Monitoring", "platform_jobs_submitted_total"),
        ("6. Security Monitoring", "job_validation_failures_total"),
        ("Alerting Rules", "agent_status"),
    ],
)
def test_a_metric_is_there_with_its_own_test(heading: str, metric: str) -> None:
    (line,) = [line for line in LINES if line.heading == heading and re.match(rf"`{metric}[`{{]", line.says)]
    own = f"libs/platform_server/tests/kit/test_metrics.py::test_a_metric_is_that_of_the_specification[{metric}]"
    assert own in line.tests


def test_the_16_scanners_and_the_job_types_are_there() -> None:
    named = re.findall(r"`([a-z_-]+)`", under("4. Input Validation (P0 Security)"))
    assert sorted(named) == sorted([*SCANNERS, *JobType])


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_there_with_its_limits(name: str) -> None:
    plan = PLANS[name]
    line = f"{name.capitalize()}: {plan.max_concurrent_jobs} concurrent jobs, {plan.max_queue_size} queued"
    assert line in under("4. Per-Plan Limits")


@pytest.mark.parametrize(
    ("worker", "interval"),
    [
        ("PlatformQueueWorker", "Recovery (1min)"),
        ("PlatformQueueWorker", "Expiry (5min)"),
        ("PlatformQueueWorker", "Priority Update (30s)"),
        ("PlatformAgentHealthChecker", "Health Check (30s)"),
        ("PlatformAgentHealthChecker", "Stats Logging (5min)"),
    ],
)
def test_an_interval_is_there(worker: str, interval: str) -> None:
    assert interval in under(worker).splitlines()


@pytest.mark.parametrize("setting", ["MaxFailures", "BanDuration", "WindowDuration", "CleanupInterval"])
def test_a_setting_of_the_limiter_is_there_and_in_the_code(setting: str) -> None:
    assert f"`{setting}`" in under("5. Rate Limiting (P2 Security)")
    ours = re.sub(r"(?<!^)(?=[A-Z])", "_", setting).lower()
    assert ours in {field.name for field in fields(LimiterSettings)}


@pytest.mark.parametrize(
    "variable", ["EXPLOOP_API_URL", "REDIVER_BOOTSTRAP_TOKEN", "AGENT_NAME", "AGENT_REGION", "AGENT_CAPABILITIES"]
)
def test_a_variable_of_the_agent_is_there(variable: str) -> None:
    assert f"`{variable}`" in under("Step 3: Deploy Platform Agent").splitlines()
