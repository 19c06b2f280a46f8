"""The runbook answers the specification's troubleshooting, and what it tells people to type is there."""

import re
from pathlib import Path

import pytest

from platform_core.wire.operations import EVERYTHING
from platform_server.store.connection import Conn

RUNBOOK = (Path(__file__).parents[1] / "runbook.md").read_text()

LINES = [
    ("Agent not receiving jobs", "1. Check agent is online."),
    ("Agent not receiving jobs", "2. Check agent capabilities match job requirements."),
    ("Agent not receiving jobs", "3. Check Redis Pub/Sub connectivity."),
    ("Agent not receiving jobs", "4. Check agent logs for authentication errors."),
    ("Jobs stuck in queue", "1. Check `PlatformQueueWorker` is running."),
    ("Jobs stuck in queue", "2. Check for available agents with matching capabilities."),
    ("Jobs stuck in queue", "3. Check tenant hasn't exceeded queue limits."),
    ("Jobs stuck in queue", "4. Review job priority calculation."),
    ("High auth failure rate", "1. Check for misconfigured agents."),
    ("High auth failure rate", "2. Review banned IPs: query `banned_ips_current` metric."),
    ("High auth failure rate", "3. Check for credential leaks or brute-force attempts."),
]


def section(heading: str) -> str:
    return RUNBOOK.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(("symptom", "line"), LINES, ids=[line for _, line in LINES])
def test_a_line_of_the_specifications_troubleshooting_is_answered(symptom: str, line: str) -> None:
    answer = section(symptom).partition(f"**{line}**")[2].partition("\n**")[0]
    assert len(answer.split()) > 20


@pytest.mark.parametrize("alert", ["HighAuthFailureRate", "SecurityEventDetected", "AllAgentsOffline"])
def test_every_alert_of_the_specification_is_explained(alert: str) -> None:
    assert f"\n| {alert} |" in section("Alerts")


def test_every_call_that_is_typed_is_one_of_the_contract() -> None:
    paths = {re.sub(r"\{\w+\}", "*", operation.path) for operation in EVERYTHING}
    typed = re.findall(r"/api/v1/[^\s\"?`)]+", RUNBOOK)
    assert typed
    assert {re.sub(r"\$[A-Z]+|\{id\}|\d+\.\d+\.\d+\.\d+", "*", path) for path in typed} <= paths


async def test_every_statement_that_is_typed_can_be_prepared(conn: Conn) -> None:
    psql = 'psql "$PLATFORM_DATABASE_URL" -c '
    statements = [typed for _, typed in re.findall(rf"{re.escape(psql)}(['\"])(.+?)\1", RUNBOOK, re.DOTALL)]
    assert len(statements) == RUNBOOK.count(psql) > 0
    for statement in statements:
        await conn.prepare(statement)
