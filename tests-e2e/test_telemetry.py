"""What every service tells on its internal port, and the seven security events: a line and a count each."""

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from ipaddress import ip_address
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from driving import Body, Platform, eventually, lane
from stacks import stranger

from platform_core.domain.tokens import new_agent_key
from platform_stack.stack import Service, Stack

SERVICES = ["registration", "job_intake", "dispatcher", "agent_health", "queue_maintenance"]
POLL = "/api/v1/platform-agent/poll"
SPECIFIED_METRICS = {
    "security_events_total": "counter",
    "auth_failures_total": "counter",
    "banned_ips_current": "gauge",
    "platform_jobs_submitted_total": "counter",
    "job_validation_failures_total": "counter",
    "agent_status": "gauge",
}

_TYPE = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def replicas(stack: Stack) -> Iterator[Service]:
    for many in stack.services.values():
        yield from many


def told(service: Service, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{service.internal_port}{path}", timeout=10)


def series(stack: Stack, metric: str, **labels: str) -> list[float]:
    """What every replica tells of the metric under these labels."""
    asked = {f'{name}="{value}"' for name, value in labels.items()}
    return [
        float(value)
        for service in replicas(stack)
        for name, told_labels, value in _SAMPLE.findall(told(service, "/metrics").text)
        if name == metric and asked <= set(told_labels.split(","))
    ]


def total(stack: Stack, metric: str, **labels: str) -> float:
    """The sum over all replicas."""
    return sum(series(stack, metric, **labels))


def events(stack: Stack, kind: str) -> list[Body]:
    """The security events of a kind that are in the logs."""
    lines = (line for log in stack.logs.glob("*.log") for line in log.read_text(errors="replace").splitlines())
    return [json.loads(line) for line in lines if f'"event":"{kind}"' in line]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_live_ready_and_measured_on_its_internal_port(stack: Stack, name: str) -> None:
    for service in stack.services[name]:
        live, ready = told(service, "/healthz"), told(service, "/readyz")
        assert (live.status_code, live.json()) == (200, {"status": "ok", "stalled": []})
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", "degraded": []})
        metrics = told(service, "/metrics")
        assert metrics.headers["content-type"].startswith("text/plain")
        types = dict(_TYPE.findall(metrics.text))
        assert {metric: types.get(metric) for metric in SPECIFIED_METRICS} == SPECIFIED_METRICS


def test_the_internal_port_is_not_the_public_one(stack: Stack) -> None:
    (service, *_) = stack.services["job_intake"]
    assert httpx.get(f"http://127.0.0.1:{service.port}/metrics").status_code == 404


async def test_submissions_are_counted_by_type_and_status(platform: Platform) -> None:
    tenant = await platform.tenant()
    counted = partial(total, platform.stack, "platform_jobs_submitted_total", type="collect")
    accepted, rejected = counted(status="accepted"), counted(status="rejected")
    await tenant.submitted(type="collect", capabilities=[lane()])
    assert (counted(status="accepted"), counted(status="rejected")) == (accepted + 1, rejected)
    await tenant.submit(type="collect", payload={"kinds": ["passwords"]})
    assert (counted(status="accepted"), counted(status="rejected")) == (accepted + 1, rejected + 1)


async def test_validation_failures_are_counted_by_reason(platform: Platform) -> None:
    before = total(platform.stack, "job_validation_failures_total", reason="tool_not_allowed")
    await (await platform.tenant()).submit(type="scan", payload={"tool": "nmap", "target": "example.com"})
    assert total(platform.stack, "job_validation_failures_total", reason="tool_not_allowed") == before + 1


async def test_banned_addresses_are_counted_by_one_replica(platform: Platform) -> None:
    before = total(platform.stack, "banned_ips_current")
    async with stranger(platform.stack) as client:
        for _ in range(6):
            await client.post(POLL, headers={"X-API-Key": "rdv_agent_wrong"})

    async def counted() -> bool:
        return total(platform.stack, "banned_ips_current") == before + 1

    await eventually(counted)


async def test_agents_are_counted_by_status_every_status_always_there(platform: Platform) -> None:
    statuses = ("online", "offline", "draining", "disabled")

    async def counted() -> bool:
        text = "".join(told(service, "/metrics").text for service in platform.stack.services["agent_health"])
        there = all(f'agent_status{{status="{status}",type="platform"}}' in text for status in statuses)
        return there and total(platform.stack, "agent_status", type="platform", status="online") >= 2

    await eventually(counted)


@pytest.mark.parametrize(
    ("metric", "labels"),
    [
        ("auth_failures_total", {}),
        ("security_events_total", {"event_type": "security.job.access_denied"}),
        ("banned_ips_current", {}),
        ("agent_status", {"type": "platform", "status": "online"}),
    ],
)
async def test_the_queries_and_alerts_of_the_specification_find_their_series(
    platform: Platform, metric: str, labels: Mapping[str, str]
) -> None:
    await platform.http.post(POLL)

    async def found() -> list[float]:
        return series(platform.stack, metric, **labels)

    await eventually(found)


async def a_missing_key(platform: Platform) -> None:
    await platform.http.post(POLL)


async def a_key_nobody_has(platform: Platform) -> None:
    async with stranger(platform.stack) as client:
        await client.post(POLL, headers={"X-API-Key": new_agent_key(uuid4().bytes * 2)})


async def a_malformed_key(platform: Platform) -> None:
    async with stranger(platform.stack) as client:
        await client.post(POLL, headers={"X-API-Key": "rdv_agent_wrong"})


async def a_disabled_agent(platform: Platform) -> None:
    agent = await platform.agent()
    await platform.tell(agent.id, "disable")
    await agent.poll()


async def an_agent_that_is_no_platform_agent(platform: Platform) -> None:
    """Tenants' own agents are made elsewhere: there is no call for one."""
    agent = await platform.agent()
    with psycopg.connect(platform.stack.database) as connection:
        connection.execute("UPDATE agents SET is_platform_agent = false WHERE id = %s", [UUID(agent.id)])
    assert (await agent.poll()).json()["code"] == "agent_type_mismatch"


async def the_job_of_another_tenant(platform: Platform) -> None:
    job = (await (await platform.tenant()).submitted(capabilities=[lane()]))["job"]["id"]
    other = await platform.tenant()
    await platform.http.get(f"/api/v1/platform-jobs/{job}", headers=other.headers)


async def a_forged_job_token(platform: Platform) -> None:
    agent = await platform.agent()
    await agent.report({"id": str(uuid4()), "auth_token": "k1.1." + "0" * 64}, "ack")


@pytest.mark.parametrize(
    ("kind", "reason", "provoke"),
    [
        ("security.auth.failure", "key_missing", a_missing_key),
        ("security.agent.not_found", "key_unknown", a_key_nobody_has),
        ("security.apikey.invalid", "key_malformed", a_malformed_key),
        ("security.agent.inactive", "agent_disabled", a_disabled_agent),
        ("security.agent.type_mismatch", "agent_type_mismatch", an_agent_that_is_no_platform_agent),
        ("security.job.access_denied", "other_tenant", the_job_of_another_tenant),
        ("security.token.invalid", "job_token_forged", a_forged_job_token),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_each_security_event_is_a_structured_line_and_counted(
    platform: Platform, kind: str, reason: str, provoke: Callable[[Platform], Awaitable[None]]
) -> None:
    before = events(platform.stack, kind)
    counted = total(platform.stack, "security_events_total", event_type=kind)
    failures = total(platform.stack, "auth_failures_total", reason=reason)
    await provoke(platform)
    assert total(platform.stack, "security_events_total", event_type=kind) == counted + 1
    # Who asks for another's job is known: that is no failure to authenticate.
    is_auth = kind != "security.job.access_denied"
    assert total(platform.stack, "auth_failures_total", reason=reason) == failures + is_auth
    new = [line for line in events(platform.stack, kind) if line not in before]
    assert [line["reason"] for line in new] == [reason]
    assert new[0]["event_type"] == kind
    ip_address(new[0]["address"])
    assert new[0]["request_id"]


async def test_no_secret_is_in_the_logs(platform: Platform) -> None:
    raw = await platform.bootstrap_token()
    capability = lane()
    agent, tenant = await platform.agent(capability), await platform.tenant()
    await tenant.submitted(capabilities=[capability])
    (job,) = await agent.jobs()
    await agent.finish(job)
    wrong = raw[:-1] + ("0" if raw[-1] != "0" else "1")
    async with stranger(platform.stack) as client:
        await client.post("/api/v1/platform-agents/register", json={"bootstrap_token": wrong, "name": "x"})
    secrets = [raw, wrong, agent.headers["X-API-Key"], job["auth_token"], platform.stack.secrets.jwt]
    for log in platform.stack.logs.glob("*.log"):
        text = log.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], log.name
