"""Every refusal of the HTTP contract but those of a full queue and an absent store, through the gateway."""

import secrets
from collections.abc import Awaitable, Callable
from uuid import uuid4

import httpx
import pytest
from driving import Platform, bearer, lane, problem
from stacks import stranger

from platform_core.domain.ids import SYSTEM_TENANT, TenantId
from platform_core.domain.tokens import new_agent_key
from platform_stack import tokens

JOBS = "/api/v1/platform-jobs"
AGENTS = "/api/v1/admin/platform-agents"
TOKENS = "/api/v1/admin/bootstrap-tokens"
REGISTER = "/api/v1/platform-agents/register"
POLL = "/api/v1/platform-agent/poll"
UNKNOWN_TOKEN = "abc123.0123456789abcdef"

Call = Callable[[Platform], Awaitable[httpx.Response]]


async def no_bearer_token(platform: Platform) -> httpx.Response:
    return await platform.http.get(JOBS)


async def a_forged_bearer_token(platform: Platform) -> httpx.Response:
    forged = tokens.Secrets(jwt="another secret of at least thirty-two bytes", job_token_keys="")
    return await platform.http.get(JOBS, headers=bearer(tokens.tenant_token(forged, TenantId(uuid4()))))


async def no_api_key(platform: Platform) -> httpx.Response:
    return await platform.http.post(POLL)


async def a_malformed_api_key(platform: Platform) -> httpx.Response:
    async with stranger(platform.stack) as client:
        return await client.post(POLL, headers={"X-API-Key": "rdv_agent_short"})


async def a_well_formed_api_key_that_nobody_has(platform: Platform) -> httpx.Response:
    async with stranger(platform.stack) as client:
        return await client.post(POLL, headers={"X-API-Key": new_agent_key(secrets.token_bytes(32))})


async def an_unknown_bootstrap_token(platform: Platform) -> httpx.Response:
    async with stranger(platform.stack) as client:
        return await client.post(REGISTER, json={"bootstrap_token": UNKNOWN_TOKEN, "name": "nobody"})


async def no_job_token(platform: Platform) -> httpx.Response:
    agent = await platform.agent()
    return await platform.http.post(f"/api/v1/platform-agent/jobs/{uuid4()}/ack", headers=agent.headers)


async def an_administrator_who_submits(platform: Platform) -> httpx.Response:
    return await platform.http.post(JOBS, headers=platform.admin)


async def a_tenant_who_administers(platform: Platform) -> httpx.Response:
    return await platform.http.get(AGENTS, headers=(await platform.tenant()).headers)


async def the_system_tenant(platform: Platform) -> httpx.Response:
    return await platform.http.get(JOBS, headers=bearer(tokens.tenant_token(platform.stack.secrets, SYSTEM_TENANT)))


async def a_tenant_that_is_not_known(platform: Platform) -> httpx.Response:
    token = tokens.tenant_token(platform.stack.secrets, TenantId(uuid4()))
    return await platform.http.get(JOBS, headers=bearer(token))


async def a_suspended_tenant(platform: Platform) -> httpx.Response:
    return await (await platform.tenant(status="suspended")).submit()


async def a_disabled_agent(platform: Platform) -> httpx.Response:
    agent = await platform.agent()
    await platform.tell(agent.id, "disable")
    return await agent.poll()


async def an_agent_in_the_wrong_region(platform: Platform) -> httpx.Response:
    raw = await platform.bootstrap_token(required_region="eu-west-1")
    body = {"bootstrap_token": raw, "name": f"agent-{uuid4()}", "region": "us-east-1"}
    return await platform.http.post(REGISTER, json=body)


async def the_job_of_another_agent(platform: Platform) -> httpx.Response:
    capability = lane()
    agent, other = await platform.agent(capability), await platform.agent()
    await (await platform.tenant()).submitted(capabilities=[capability])
    (job,) = await agent.jobs()
    return await other.report(job, "ack")


async def a_path_that_no_service_has(platform: Platform) -> httpx.Response:
    return await platform.http.get(f"{JOBS}/1/2/3")


async def a_path_that_the_gateway_does_not_know(platform: Platform) -> httpx.Response:
    return await platform.http.get("/nothing/here")


async def an_id_that_is_none(platform: Platform) -> httpx.Response:
    return await platform.http.get(f"{JOBS}/1", headers=(await platform.tenant()).headers)


async def an_absent_job(platform: Platform) -> httpx.Response:
    return await platform.http.get(f"{JOBS}/{uuid4()}", headers=(await platform.tenant()).headers)


async def the_job_of_another_tenant(platform: Platform) -> httpx.Response:
    submitted = await (await platform.tenant()).submitted(capabilities=[lane()])
    return await (await platform.tenant()).cancel(submitted["job"]["id"])


async def an_absent_agent(platform: Platform) -> httpx.Response:
    return await platform.http.get(f"{AGENTS}/{uuid4()}", headers=platform.admin)


async def a_method_that_a_path_does_not_have(platform: Platform) -> httpx.Response:
    return await platform.http.delete(JOBS, headers=platform.admin)


async def a_name_that_is_taken(platform: Platform) -> httpx.Response:
    body = {"name": f"agent-{uuid4()}"}
    await platform.http.post(AGENTS, headers=platform.admin, json=body)
    return await platform.http.post(AGENTS, headers=platform.admin, json=body)


async def a_registration_under_the_name_of_an_agent_that_is_online(platform: Platform) -> httpx.Response:
    agent = await platform.agent()
    await agent.heartbeat()
    name = (await platform.described(agent.id))["agent"]["name"]
    raw = await platform.bootstrap_token()
    return await platform.http.post(REGISTER, json={"bootstrap_token": raw, "name": name})


async def a_second_cancel(platform: Platform) -> httpx.Response:
    tenant = await platform.tenant()
    number = (await tenant.submitted(capabilities=[lane()]))["job"]["id"]
    assert (await tenant.cancel(number)).status_code == 200
    return await tenant.cancel(number)


async def a_retry_of_a_job_that_did_not_fail(platform: Platform) -> httpx.Response:
    tenant = await platform.tenant()
    number = (await tenant.submitted(capabilities=[lane()]))["job"]["id"]
    return await platform.http.post(f"{JOBS}/{number}/retry", headers=tenant.headers)


async def the_result_of_an_older_attempt(platform: Platform) -> httpx.Response:
    capability = lane()
    agent = await platform.agent(capability)
    await (await platform.tenant()).submitted(capabilities=[capability])
    (first,) = await agent.jobs()
    await agent.report(first, "release")
    (second,) = await agent.jobs()
    assert second["attempt"] == first["attempt"] + 1
    return await agent.report(first, "result", {"status": "completed"})


async def the_result_of_a_cancelled_job(platform: Platform) -> httpx.Response:
    capability = lane()
    agent, tenant = await platform.agent(capability), await platform.tenant()
    await tenant.submitted(capabilities=[capability])
    (job,) = await agent.jobs()
    await agent.report(job, "ack")
    await tenant.cancel(job["id"])
    return await agent.report(job, "result", {"status": "completed"})


async def a_drain_of_a_disabled_agent(platform: Platform) -> httpx.Response:
    agent = await platform.agent()
    await platform.tell(agent.id, "disable")
    return await platform.tell(agent.id, "drain")


async def a_body_that_is_not_json_by_its_type(platform: Platform) -> httpx.Response:
    headers = {**platform.admin, "Content-Type": "text/xml"}
    return await platform.http.post(TOKENS, headers=headers, content="<token/>")


async def an_idempotency_key_with_another_body(platform: Platform) -> httpx.Response:
    tenant, key = await platform.tenant(), {"Idempotency-Key": "one"}
    assert (await tenant.submit(key, capabilities=[lane()])).status_code == 201
    return await tenant.submit(key, capabilities=[lane()])


@pytest.mark.parametrize(
    ("status", "code", "call"),
    [
        (401, "unauthenticated", no_bearer_token),
        (401, "unauthenticated", a_forged_bearer_token),
        (401, "unauthenticated", no_api_key),
        (401, "key_invalid", a_malformed_api_key),
        (401, "key_invalid", a_well_formed_api_key_that_nobody_has),
        (401, "token_invalid", an_unknown_bootstrap_token),
        (401, "token_invalid", no_job_token),
        (403, "wrong_role", an_administrator_who_submits),
        (403, "wrong_role", a_tenant_who_administers),
        (403, "system_tenant", the_system_tenant),
        (403, "tenant_unknown", a_tenant_that_is_not_known),
        (403, "tenant_suspended", a_suspended_tenant),
        (403, "agent_disabled", a_disabled_agent),
        (403, "token_constraint", an_agent_in_the_wrong_region),
        (403, "job_access_denied", the_job_of_another_agent),
        (404, "not_found", a_path_that_no_service_has),
        (404, "not_found", a_path_that_the_gateway_does_not_know),
        (404, "not_found", an_id_that_is_none),
        (404, "not_found", an_absent_job),
        (404, "not_found", the_job_of_another_tenant),
        (404, "not_found", an_absent_agent),
        (405, "method_not_allowed", a_method_that_a_path_does_not_have),
        (409, "name_taken", a_name_that_is_taken),
        (409, "name_taken", a_registration_under_the_name_of_an_agent_that_is_online),
        (409, "job_over", a_second_cancel),
        (409, "job_over", a_retry_of_a_job_that_did_not_fail),
        (409, "attempt_superseded", the_result_of_an_older_attempt),
        (409, "job_cancelled", the_result_of_a_cancelled_job),
        (409, "conflict", a_drain_of_a_disabled_agent),
        (415, "unsupported_media_type", a_body_that_is_not_json_by_its_type),
        (422, "idempotency_mismatch", an_idempotency_key_with_another_body),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
async def test_a_refusal_is_a_problem_with_its_status_and_code(
    platform: Platform, status: int, code: str, call: Call
) -> None:
    problem(await call(platform), status, code)


async def test_bad_input_is_400_and_names_every_bad_field_at_once(platform: Platform) -> None:
    tenant = await platform.tenant()
    answer = await tenant.submit(
        type="attack", priority="urgent", capabilities=["Not A Name"], timeout=7201, timout=5, preferred_region=""
    )
    fields = {error["field"].partition("[")[0] for error in problem(answer, 400, "validation_failed")["errors"]}
    assert fields == {"type", "priority", "capabilities", "timeout", "timout", "preferred_region"}


async def test_bad_input_of_an_administrator_is_400_and_names_every_bad_field_at_once(platform: Platform) -> None:
    body = {"expires_in_hours": 169, "max_uses": 101, "required_region": "UPPER", "descripton": "a typing error"}
    answer = await platform.http.post(TOKENS, headers=platform.admin, json=body)
    fields = {error["field"] for error in problem(answer, 400, "validation_failed")["errors"]}
    assert fields == set(body)


async def test_an_agents_unknown_fields_are_ignored(platform: Platform) -> None:
    agent = await platform.agent()
    assert (await agent.poll(timeout=0, from_the_future=True)).json() == {"jobs": []}


async def test_a_request_id_is_echoed_and_one_is_made_for_who_sends_none(platform: Platform) -> None:
    given = await platform.http.get(JOBS, headers={"X-Request-ID": "mine-1"})
    assert given.headers["x-request-id"] == given.json()["request_id"] == "mine-1"
    made = [problem(await platform.http.get(JOBS), 401, "unauthenticated")["request_id"] for _ in range(2)]
    assert made[0] != made[1]


@pytest.mark.parametrize("media_type", ["application/x-www-form-urlencoded", "application/json", None])
async def test_a_body_is_json_by_curls_type_by_its_own_and_by_none(platform: Platform, media_type: str | None) -> None:
    headers = {**platform.admin, **({"Content-Type": media_type} if media_type else {})}
    made = await platform.http.post(TOKENS, headers=headers, content=b'{"max_uses": 3}')
    assert made.json()["token"]["max_uses"] == 3
