"""Who may speak to the dispatcher: X-API-Key and X-Job-Token, and what each failure raises (docs/api.md)."""

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from dispatching import Agent, Dispatcher
from httpx import AsyncClient, Response
from starlette.routing import Route

from dispatcher.routes import ROUTES
from platform_core.domain import tokens
from platform_core.domain.ids import JobId
from platform_core.wire.operations.dispatcher import DISPATCHER
from platform_server.kit import metrics
from platform_server.kit.security import SecurityEvent
from platform_server.store.connection import acquire
from platform_server.store.jobs import cancel
from world import KEY, World

NewAgent = Callable[..., Awaitable[Agent]]
POLL = "/api/v1/platform-agent/poll"


def test_the_routes_are_those_of_the_published_document() -> None:
    assert all(isinstance(route, Route) for route in ROUTES)
    served = {
        (method, route.path.replace(":uuid", "")) for route in ROUTES for method in (route.methods or set()) - {"HEAD"}
    }
    assert served == {(str(operation.method), operation.path) for operation in DISPATCHER}


async def test_each_failure_of_a_key_raises_its_event(dispatcher: Dispatcher, world: World, agent: Agent) -> None:
    good = tokens.new_agent_key(secrets.token_bytes(32))
    typo = good[:-1] + ("0" if good[-1] != "0" else "1")
    tenants_own = await _of_a_tenant(world)
    for key, status, code, event, reason in (
        (None, 401, "unauthenticated", SecurityEvent.AUTH_FAILURE, "key_missing"),
        ("rdv_agent_", 401, "key_invalid", SecurityEvent.APIKEY_INVALID, "key_malformed"),
        (typo, 401, "key_invalid", SecurityEvent.APIKEY_INVALID, "key_checksum"),
        (good, 401, "key_invalid", SecurityEvent.AGENT_NOT_FOUND, "key_unknown"),
        (tenants_own, 403, "agent_type_mismatch", SecurityEvent.AGENT_TYPE_MISMATCH, "agent_type_mismatch"),
    ):
        with counted(event, reason):
            refused = await _poll(dispatcher, key)
        assert (refused.status_code, refused.json()["code"]) == (status, code)
    await world.execute("UPDATE agents SET admin_state = 'disabled' WHERE id = $1", agent.id)
    with counted(SecurityEvent.AGENT_INACTIVE, "agent_disabled"):
        refused = await agent.poll(timeout=0)
    assert (refused.status_code, refused.json()["code"]) == (403, "agent_disabled")


async def test_five_failures_ban_the_address_but_not_a_key_that_was_verified_from_there(
    dispatcher: Dispatcher, world: World, agent: Agent
) -> None:
    """Missing keys and agents of another type do not count."""
    assert (await agent.poll(timeout=0)).status_code == 200
    for key in [None, await _of_a_tenant(world)] * 3:
        assert (await _poll(dispatcher, key)).status_code in (401, 403)
    wrong = [await _poll(dispatcher, tokens.new_agent_key(secrets.token_bytes(32))) for _ in range(5)]
    assert [refused.status_code for refused in wrong] == [401] * 5
    with counted(SecurityEvent.AUTH_FAILURE, "banned"):
        banned = await _poll(dispatcher, tokens.new_agent_key(secrets.token_bytes(32)))
    assert (banned.status_code, banned.json()["code"]) == (429, "banned")
    assert 890 <= int(banned.headers["retry-after"]) <= 900
    left = "SELECT banned_until - clock_timestamp() FROM banned_ips WHERE address = '127.0.0.1'"
    assert timedelta(minutes=14) < await world.pool.fetchval(left) <= timedelta(minutes=15)
    dispatcher.state["agents"].forget(agent.id)
    assert (await agent.poll(timeout=0)).status_code == 200


async def test_a_ban_is_of_the_address_that_the_gateway_wrote(dispatcher: Dispatcher) -> None:
    """The test's own client stands where the gateway does."""
    for _ in range(5):
        await _poll(dispatcher, "nonsense", **{"X-Forwarded-For": "192.0.2.1, 203.0.113.9"})
    from_there = await _poll(dispatcher, "nonsense", **{"X-Forwarded-For": "198.51.100.7, 203.0.113.9"})
    forged = await _poll(dispatcher, "nonsense", **{"X-Forwarded-For": "203.0.113.9, 198.51.100.7"})
    assert (from_there.status_code, forged.status_code) == (429, 401)


async def test_x_job_token_is_judged_in_this_order(
    world: World, dispatcher: Dispatcher, agent: Agent, new_agent: NewAgent
) -> None:
    """Missing, forged or expired; of an older attempt; of another agent; then the job's state."""
    other = await new_agent(dispatcher, "scanner-2")
    await world.submit(await world.tenant())
    first = await agent.running()
    await agent.tell("release", first)
    job = await other.running()
    invalid = SecurityEvent.TOKEN_INVALID
    forged = f"k1.2.{'0' * 64}"
    of_another_job = tokens.job_token(JobId(uuid4()), 2, kid="k1", key=KEY)
    for token, reason in (
        ("", "job_token_malformed"),
        ("k1.2", "job_token_malformed"),
        (forged, "job_token_forged"),
        (of_another_job, "job_token_forged"),
        (job["auth_token"].replace("k1.2", "k2.2"), "job_token_forged"),
        (job["auth_token"].replace("k1.2", "k1.3"), "job_token_forged"),
    ):
        with counted(invalid, reason):
            await _refused(other, job, 401, "token_invalid", token)
    with counted(invalid, "job_token_missing"):
        missing = await other.http.post(f"/api/v1/platform-agent/jobs/{job['id']}/ack")
    assert missing.status_code == 401
    for caller in (agent, other):
        with counted(None):
            await _refused(caller, job, 409, "attempt_superseded", first["auth_token"])
    with counted(SecurityEvent.JOB_ACCESS_DENIED):
        await _refused(agent, job, 403, "job_access_denied", job["auth_token"])
    await _cancel(world, job)
    with counted(SecurityEvent.JOB_ACCESS_DENIED):
        await _refused(agent, job, 403, "job_access_denied", job["auth_token"])
    with counted(None):
        assert (await other.tell("progress", job, {"progress": 1})).json()["cancelled"]
        await _refused(other, job, 409, "job_cancelled", job["auth_token"])


async def test_token_lifetime_is_the_jobs_timeout_and_10_minutes(world: World, agent: Agent) -> None:
    await world.submit(await world.tenant())
    job = await agent.running()
    lifetime = "SELECT auth_token_expires_at - assigned_at FROM commands WHERE id = $1"
    assert await world.pool.fetchval(lifetime, UUID(job["id"])) == timedelta(seconds=job["timeout"], minutes=10)
    past = "UPDATE commands SET auth_token_expires_at = clock_timestamp() WHERE id = $1"
    await world.execute(past, UUID(job["id"]))
    for what, body in (("ack", None), ("progress", {"progress": 1}), ("result", {"status": "completed"})):
        with counted(SecurityEvent.TOKEN_INVALID, "job_token_expired"):
            refused = await agent.tell(what, job, body)
        assert (refused.status_code, refused.json()["code"]) == (401, "token_invalid")


async def test_a_token_that_another_signing_key_made_is_genuine_while_that_key_is_known(
    world: World, serve: Any, new_agent: NewAgent
) -> None:
    async with serve(job_token_keys=f"k2:{'11' * 32},k1:{KEY.hex()}") as rotated:
        agent = await new_agent(rotated)
        await world.submit(await world.tenant())
        job = await agent.job()
        assert job["auth_token"].startswith("k2.1.")
        assert (await agent.tell("ack", job)).status_code == 200


async def test_job_tokens_do_not_count_towards_a_ban(world: World, agent: Agent) -> None:
    await world.submit(await world.tenant())
    job = await agent.running()
    for _ in range(6):
        await _refused(agent, job, 401, "token_invalid", "forged")
    assert (await agent.tell("result", job, {"status": "completed"})).status_code == 200


async def test_a_job_that_is_not_there_is_404(agent: Agent) -> None:
    absent = JobId(uuid4())
    job = {"id": str(absent), "auth_token": tokens.job_token(absent, 1, kid="k1", key=KEY)}
    assert (await agent.tell("ack", job)).status_code == 404


@contextmanager
def counted(event: SecurityEvent | None, reason: str | None = None) -> Iterator[None]:
    """Exactly one security event, this one, is counted inside, with this reason; or none at all."""
    before = _events()
    yield
    assert sorted((_events() - before).elements()) == sorted(told for told in (event, reason) if told is not None)


def _events() -> Counter[str]:
    """How often each event and each reason was counted."""
    families = [*metrics.SECURITY_EVENTS.collect(), *metrics.AUTH_FAILURES.collect()]
    samples = [sample for family in families for sample in family.samples if sample.name.endswith("_total")]
    return Counter({label: int(sample.value) for sample in samples for label in sample.labels.values()})


async def _poll(dispatcher: Dispatcher, key: str | None, **headers: str) -> Response:
    if key is not None:
        headers["X-API-Key"] = key
    async with AsyncClient(base_url=dispatcher.url, headers=headers, trust_env=False) as client:
        return await client.post(POLL, json={"timeout": 0})


async def _of_a_tenant(world: World) -> str:
    """The key of an agent that is no platform agent."""
    key = tokens.new_agent_key(secrets.token_bytes(32))
    agent = await world.agent("own-" + key[10:20], key=key)
    owner = await world.tenant()
    await world.execute("UPDATE agents SET is_platform_agent = false, tenant_id = $2 WHERE id = $1", agent, owner)
    return key


async def _refused(agent: Agent, job: dict[str, Any], status: int, code: str, token: str) -> None:
    refused = await agent.tell("result", job, {"status": "completed"}, **{"X-Job-Token": token})
    assert (refused.status_code, refused.json()["code"]) == (status, code)


async def _cancel(world: World, job: dict[str, Any]) -> None:
    number = JobId(UUID(job["id"]))
    async with acquire(world.pool) as conn:
        await cancel(conn, (await world.job(number))["tenant_id"], number)
