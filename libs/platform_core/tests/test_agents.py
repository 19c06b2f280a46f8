"""Agents: states, silence, names, and what a bootstrap token asks of them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_core.domain.agents import AdminState, AgentStatus, Constraint, is_name, is_stale, status_of, unmet

OK = {
    "one character": "a",
    "a digit first": "7zip",
    "dots and dashes": "us-east-1.prod_2",
    "the longest": "a" * 50,
}
BAD = {
    "empty": "",
    "too long": "a" * 51,
    "upper case": "Nuclei",
    "a dash first": "-nuclei",
    "a dot first": ".nuclei",
    "a space": "us east",
    "a newline last": "nuclei\n",
    "NUL": "nuclei\0",
    "a look-alike": "nuсlei",
    "a digit of another script": "n٣",
    "a slash": "a/b",
}


@pytest.mark.parametrize("text", OK.values(), ids=OK.keys())
def test_a_name_may_be(text: str) -> None:
    assert is_name(text)


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_a_name_may_not_have(text: str) -> None:
    assert not is_name(text)


@given(st.text())
def test_a_name_is_1_to_50_ascii_characters(text: str) -> None:
    if is_name(text):
        assert text.isascii()
        assert 1 <= len(text) <= 50
        assert text == text.lower().strip()


@pytest.mark.parametrize(
    ("admin_state", "online", "expected"),
    [
        (AdminState.ENABLED, True, AgentStatus.ONLINE),
        (AdminState.ENABLED, False, AgentStatus.OFFLINE),
        (AdminState.DRAINING, True, AgentStatus.DRAINING),
        (AdminState.DRAINING, False, AgentStatus.OFFLINE),
        (AdminState.DISABLED, True, AgentStatus.DISABLED),
        (AdminState.DISABLED, False, AgentStatus.DISABLED),
    ],
)
def test_an_agents_status(admin_state: AdminState, online: bool, expected: AgentStatus) -> None:
    assert status_of(admin_state, online=online) is expected


@pytest.mark.parametrize(("silent_for", "expected"), [(0, False), (59.9, False), (60, True), (3600, True)])
def test_an_agent_is_stale_after_60_seconds_of_silence(silent_for: float, expected: bool) -> None:
    assert is_stale(timedelta(seconds=silent_for)) is expected


@pytest.mark.parametrize(
    ("constraint", "expected"),
    [
        (Constraint(), []),
        (Constraint(capabilities=["nuclei"], tools=["nmap"], region="us-east-1"), []),
        (Constraint(capabilities=["nuclei", "bandit"]), ["capability bandit"]),
        (Constraint(tools=["grype"]), ["tool grype"]),
        (Constraint(region="eu-west-1"), ["region eu-west-1"]),
        (Constraint(["bandit"], ["grype"], "eu-west-1"), ["capability bandit", "tool grype", "region eu-west-1"]),
    ],
    ids=["asks for nothing", "all met", "a capability", "a tool", "the region", "everything"],
)
def test_required_capabilities_and_tools_must_be_among_its_own_and_the_region_equal(
    constraint: Constraint, expected: list[str]
) -> None:
    lacks = unmet(constraint, capabilities={"nuclei", "subfinder"}, tools={"nmap", "nuclei"}, region="us-east-1")
    assert lacks == expected


def test_an_agent_without_a_region_does_not_meet_one() -> None:
    assert unmet(Constraint(region="us-east-1"), capabilities=(), tools=(), region=None) == ["region us-east-1"]
