"""Real agents with real scanners: what tenants get, and what becomes of a scan that is cancelled or loses its agent."""

import signal
import time
from uuid import uuid4

import psutil
from driving import Platform, eventually, lane
from scans import lay_large_project, lay_sample, scanners_of, submit_scan
from stacks import SCANNERS

from platform_stack.processes import Process

# A scan that nobody waits for, and one that takes long enough to be interrupted.
ENDLESS, SOME = 400, 12


async def start_agent(platform: Platform, capability: str, **settings: str) -> Process:
    """A real agent, alone with the capability. What its scanners leave behind goes with the stack."""
    token = await platform.bootstrap_token()
    environment = {"AGENT_CAPABILITIES": capability, "TMPDIR": str(platform.stack.plan.folder), **settings}
    return platform.stack.start_agent(f"agent-{uuid4()}", token=token, scanners=SCANNERS, settings=environment)


async def until_scanning(agent: Process) -> list[psutil.Process]:
    async def scanning() -> list[psutil.Process]:
        return scanners_of(agent.pid)

    return await eventually(scanning)


async def test_a_real_bandit_scan_comes_back_with_its_findings(platform: Platform) -> None:
    tenant = await platform.tenant()
    lay_sample(platform.stack, tenant)
    job = await tenant.until(await submit_scan(tenant, "bandit", target="sample"), "completed", "failed", seconds=60)
    assert job["status"] == "completed", job["error"]
    found = {(finding["rule_id"], finding["path"]) for finding in job["result"]["findings"]}
    assert {("B301", "shop/orders.py"), ("B602", "shop/admin.py"), ("B324", "shop/admin.py")} <= found
    assert job["result"]["summary"].startswith(f"Found {len(job['result']['findings'])} problems")
    assert [attempt["outcome"] for attempt in job["attempts"]] == ["completed"]


async def test_a_health_check_says_whether_an_agent_can_work(platform: Platform) -> None:
    tenant = await platform.tenant()
    number = (await tenant.submitted(type="health_check", capabilities=["bandit"]))["job"]["id"]
    result = (await tenant.until(number, "completed"))["result"]
    assert result["healthy"] is True
    assert result["checks"]["tools_installed"] is True


async def test_a_collect_job_brings_the_inventory_that_it_names(platform: Platform) -> None:
    tenant = await platform.tenant()
    body = {"type": "collect", "payload": {"kinds": ["host", "tools"]}, "capabilities": ["bandit"]}
    result = (await tenant.until((await tenant.submitted(**body))["job"]["id"], "completed"))["result"]
    assert result.keys() == {"host", "tools"}
    assert {"bandit", "semgrep"} <= set(result["tools"])
    assert result["host"]["cpus"] >= 1


async def test_cancelling_a_running_scan_kills_its_scanner_at_once_and_frees_the_slot(platform: Platform) -> None:
    capability = lane()
    agent, tenant = await start_agent(platform, capability), await platform.tenant()
    lay_large_project(platform.stack, tenant, files=ENDLESS)
    number = await submit_scan(tenant, capability, target="large")
    scanners = await until_scanning(agent)
    await tenant.until(number, "running")
    start = time.monotonic()
    cancelled = (await tenant.cancel(number)).json()["job"]
    assert cancelled["status"] == "cancelled"

    async def dead() -> bool:
        return not any(scanner.is_running() and scanner.status() != psutil.STATUS_ZOMBIE for scanner in scanners)

    assert await eventually(dead)
    assert time.monotonic() - start < 2

    async def free() -> bool:
        return bool((await platform.described(cancelled["platform_agent_id"]))["agent"]["running"] == 0)

    assert await eventually(free)
    assert agent.running


async def test_a_scan_whose_agent_is_killed_is_finished_by_another(fragile: Platform) -> None:
    capability = lane()
    agent, tenant = await start_agent(fragile, capability), await fragile.tenant()
    lay_large_project(fragile.stack, tenant, files=SOME)
    number = await submit_scan(tenant, capability, target="large")
    await until_scanning(agent)
    lost = (await tenant.until(number, "running"))["platform_agent_id"]
    agent.kill()
    await start_agent(fragile, capability)
    job = await tenant.until(number, "completed", "failed", seconds=60)
    assert (job["status"], job["attempt"], job["retry_count"]) == ("completed", 2, 1)
    assert job["platform_agent_id"] != lost
    assert (job["attempts"][0]["outcome"], job["attempts"][0]["agent_id"]) == ("lost", lost)
    assert (await fragile.described(lost))["agent"]["status"] == "offline"


async def test_a_scan_whose_agent_is_told_to_stop_is_handed_back_and_finished_by_another(fragile: Platform) -> None:
    capability = lane()
    agent = await start_agent(fragile, capability, AGENT_DRAIN_SECONDS="0.1")
    tenant = await fragile.tenant()
    lay_large_project(fragile.stack, tenant, files=SOME)
    number = await submit_scan(tenant, capability, target="large")
    scanners = await until_scanning(agent)
    await tenant.until(number, "running")
    agent.send(signal.SIGTERM)
    await tenant.until(number, "queued", seconds=10)
    assert not any(scanner.is_running() for scanner in scanners)
    await start_agent(fragile, capability)
    job = await tenant.until(number, "completed", "failed", seconds=60)
    assert (job["status"], job["attempt"], job["retry_count"]) == ("completed", 2, 0)
    assert job["attempts"][0]["outcome"] == "released"
    assert not agent.running
