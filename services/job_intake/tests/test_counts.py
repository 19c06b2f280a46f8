"""`platform_jobs_submitted_total` and `job_validation_failures_total`: every submission once."""

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

from httpx import Response
from prometheus_client import REGISTRY
from submitting import JOBS, NewTenant, Tenant, scan

from world import World

Submit = Callable[[], Awaitable[Response]]


async def rise(submit: Submit) -> dict[str, float]:
    """What the submission adds to the two counters."""
    before = told()
    await submit()
    return dict(told() - before)


def told() -> Counter[str]:
    counters = [m for m in REGISTRY.collect() if m.name in {"platform_jobs_submitted", "job_validation_failures"}]
    return Counter(
        {
            " ".join(sample.labels.values()): sample.value
            for metric in counters
            for sample in metric.samples
            if sample.name.endswith("_total")
        }
    )


async def test_what_is_accepted_is_counted_by_its_type(tenant: Tenant) -> None:
    for kind, body in (("scan", scan()), ("collect", None), ("health_check", None)):
        asked = body or {"type": kind, "payload": {}}
        assert await rise(partial(tenant.submit, asked)) == {f"{kind} accepted": 1}


async def test_a_replay_is_no_submission_of_its_own(tenant: Tenant) -> None:
    assert await rise(lambda: tenant.submit(key="k")) == {"scan accepted": 1}
    assert await rise(lambda: tenant.submit(key="k")) == {}
    assert await rise(lambda: tenant.submit(scan(a=1), key="k")) == {"scan rejected": 1}


async def test_what_is_refused_is_counted_by_every_reason(tenant: Tenant) -> None:
    async def refused(content: bytes) -> dict[str, float]:
        return await rise(lambda: tenant.call("POST", JOBS, content=content))

    assert await refused(b"{") == {"unknown rejected": 1, "body_malformed": 1}
    assert await refused(b"{}") == {"unknown rejected": 1, "type_invalid": 1, "payload_invalid": 1}
    assert await refused(b'{"type":"exec","payload":{}}') == {"unknown rejected": 1, "type_invalid": 1}
    assert await refused(b'{"type":"scan","payload":{},"timeout":0,"x":1}') == {
        "scan rejected": 1,
        "tool_missing": 1,
        "target_missing": 1,
        "timeout_invalid": 1,
        "unknown_field": 1,
    }
    assert await refused(b'{"type":"scan","payload":{"tool":"sh","target":"../x"}}') == {
        "scan rejected": 1,
        "tool_not_allowed": 1,
        "target_refused": 1,
    }
    assert await refused(b'{"type":"collect","payload":{"kinds":["users"]}}') == {
        "collect rejected": 1,
        "kinds_invalid": 1,
    }
    assert await refused(b'{"type":"health_check","payload":[]}') == {
        "health_check rejected": 1,
        "payload_malformed": 1,
    }
    assert await refused(b'{"type":"health_check","payload":{"x":"' + b"x" * 1_048_576 + b'"}}') == {
        "unknown rejected": 1,
        "payload_too_large": 1,
    }
    assert await rise(lambda: tenant.submit(key="")) == {"scan rejected": 1, "idempotency_key_invalid": 1}


async def test_what_there_is_no_room_for_is_rejected_but_not_invalid(new_tenant: NewTenant, world: World) -> None:
    tenant = await new_tenant("free")
    first, *_ = await world.submit(tenant.id, count=10)
    assert await rise(tenant.submit) == {"scan rejected": 1}
    await world.execute("UPDATE plans SET submit_rate = 1, submit_burst = 1")
    assert await rise((await new_tenant("free")).submit) == {"scan accepted": 1}
    await world.execute("UPDATE commands SET status = 'failed', completed_at = now() WHERE id = $1", first)
    retried = await new_tenant("pro")
    assert await rise(lambda: retried.call("POST", f"{JOBS}/{first}/retry")) == {}
    await world.execute("UPDATE commands SET tenant_id = $1 WHERE id = $2", retried.id, first)
    assert await rise(lambda: retried.call("POST", f"{JOBS}/{first}/retry")) == {"scan accepted": 1}
    assert await rise(lambda: retried.call("POST", f"{JOBS}/{first}/retry")) == {"scan rejected": 1}
