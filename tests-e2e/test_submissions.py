"""What the specification asks of a submission, through the gateway: whitelists, targets, limits, place in the queue."""

from urllib.parse import quote

import pytest
from driving import Platform, Tenant, lane, problem

SPECIFIED_SCANNERS = [
    "semgrep", "gitleaks", "trivy", "trivy-fs", "trivy-config", "trivy-image", "trivy-full", "nuclei",
    "bandit", "gosec", "brakeman", "eslint", "tfsec", "checkov", "grype", "dependency",
]  # fmt: skip
ONE_MEGABYTE = 1_048_576


@pytest.fixture
async def tenant(platform: Platform) -> Tenant:
    return await platform.tenant()


def scan(**payload: object) -> dict[str, object]:
    """A scan that waits for ever: nobody has its capability."""
    return {"type": "scan", "payload": {"tool": "nuclei", "target": "example.com"} | payload, "capabilities": [lane()]}


def test_there_are_sixteen_scanners() -> None:
    assert len(SPECIFIED_SCANNERS) == 16


@pytest.mark.parametrize("tool", SPECIFIED_SCANNERS)
async def test_each_scanner_of_the_whitelist_is_accepted(tenant: Tenant, tool: str) -> None:
    target = {"nuclei": "example.com", "trivy-image": "alpine:3.20"}.get(tool, "src")
    submitted = await tenant.submitted(**scan(tool=tool, target=target))
    assert submitted["job"]["payload"] == {"tool": tool, "target": target}


@pytest.mark.parametrize("tool", ["nmap", "sh", "Semgrep", "semgrep ", "semgrep;id", "trivy-fs\n", "", "../bandit"])
async def test_no_other_scanner_is_accepted(tenant: Tenant, tool: str) -> None:
    errors = problem(await tenant.submit(**scan(tool=tool)), 400, "validation_failed")["errors"]
    assert [error["field"] for error in errors] == ["payload.tool"]


async def test_a_capability_need_not_be_a_scanner(tenant: Tenant) -> None:
    submitted = await tenant.submitted(type="health_check", capabilities=["nmap", lane()])
    assert "nmap" in submitted["job"]["capabilities"]


@pytest.mark.parametrize(
    ("kind", "payload"),
    [("scan", {"tool": "bandit", "target": "src"}), ("collect", {"kinds": ["host", "tools"]}), ("health_check", {})],
)
async def test_each_job_type_of_the_whitelist_is_accepted(
    tenant: Tenant, kind: str, payload: dict[str, object]
) -> None:
    submitted = await tenant.submitted(type=kind, payload=payload, capabilities=[lane()])
    assert submitted["job"]["type"] == kind


@pytest.mark.parametrize("kind", ["exec", "SCAN", "health-check", "", None, 1])
async def test_no_other_job_type_is_accepted(tenant: Tenant, kind: object) -> None:
    errors = problem(await tenant.submit(type=kind), 400, "validation_failed")["errors"]
    assert [error["field"] for error in errors] == ["type"]


CLIMBS = [
    "../secrets", "src/../../secrets", "..\\secrets", "src/..", "%2e%2e/secrets", "..%2fsecrets", "%2e%2e%2fsecrets",
    "%252e%252e%252fsecrets", "..%5csecrets", "..%c0%afsecrets", "..%u2215secrets", "..\u2215secrets", "\uff0e\uff0e/x",
    quote(quote(quote("../secrets", safe=""), safe=""), safe=""),
]  # fmt: skip
ABSOLUTE = [
    "/etc/passwd",
    "%2fetc/passwd",
    "\\\\server\\share",
    "C:\\windows",
    "c:/windows",
    "~/x",
    "file:///etc/passwd",
]
SHELL = ["-oN/tmp/x", "src;id", "$(id)", "`id`", "src|id", "src\nid", "src%00"]


@pytest.mark.parametrize("target", [*CLIMBS, *ABSOLUTE, *SHELL, "", " "], ids=repr)
async def test_a_target_that_leads_elsewhere_is_refused_in_any_encoding(tenant: Tenant, target: str) -> None:
    answer = await tenant.submit(**scan(tool="bandit", target=target))
    errors = problem(answer, 400, "validation_failed")["errors"]
    assert [error["field"] for error in errors] == ["payload.target"]


@pytest.mark.parametrize("target", ["src", "src/a..b", "...", "https://github.com/acme/shop.git"])
async def test_a_target_that_leads_nowhere_else_is_accepted(tenant: Tenant, target: str) -> None:
    await tenant.submitted(**scan(tool="bandit", target=target))


async def test_a_scan_without_tool_and_target_names_both(tenant: Tenant) -> None:
    answer = await tenant.submit(type="scan", payload={})
    errors = problem(answer, 400, "validation_failed")["errors"]
    assert {error["field"] for error in errors} == {"payload.tool", "payload.target"}


async def test_a_payload_of_exactly_1_mb_is_accepted_and_one_byte_more_is_not(tenant: Tenant) -> None:
    room = ONE_MEGABYTE - len(b'{"note":""}')
    fits = await tenant.submitted(payload={"note": "x" * room}, capabilities=[lane()])
    assert len(fits["job"]["payload"]["note"]) == room
    too_large = await tenant.submit(payload={"note": "x" * (room + 1)}, capabilities=[lane()])
    problem(too_large, 413, "payload_too_large")


async def test_a_timeout_may_be_two_hours_and_not_a_second_more(tenant: Tenant) -> None:
    assert (await tenant.submitted(timeout=7200, capabilities=[lane()]))["job"]["timeout"] == 7200
    assert (await tenant.submitted(capabilities=[lane()]))["job"]["timeout"] == 1800
    for wrong in (7201, 0, -1, "60"):
        errors = problem(await tenant.submit(timeout=wrong), 400, "validation_failed")["errors"]
        assert [error["field"] for error in errors] == ["timeout"]


async def test_the_position_is_the_place_among_the_tenants_own_jobs_in_published_order(
    platform: Platform, tenant: Tenant
) -> None:
    capability = lane()
    await (await platform.tenant()).submitted(capabilities=[capability], priority="critical")
    places = [
        ((await tenant.submitted(capabilities=[capability], priority=priority))["queue"]["position"])
        for priority in ("normal", "normal", "critical", "low", "high")
    ]
    assert places == [1, 2, 1, 4, 2]


async def test_a_job_that_nobody_can_take_is_queued(tenant: Tenant) -> None:
    submitted = await tenant.submitted(capabilities=[lane()])
    assert submitted["status"] == submitted["job"]["status"] == "queued"
    assert (await tenant.job(submitted["job"]["id"]))["position"] == submitted["queue"]["position"] == 1


async def test_the_other_keys_of_a_payload_come_to_the_agent_unchanged(platform: Platform, tenant: Tenant) -> None:
    capability = lane()
    agent = await platform.agent(capability, tools=["nuclei"])
    payload = {"tool": "nuclei", "target": "example.com", "templates": ["cves"], "deep": {"ä": [1, 2.5, None, True]}}
    await tenant.submitted(type="scan", payload=payload, capabilities=[capability])
    (job,) = await agent.jobs()
    assert job["payload"] == payload
