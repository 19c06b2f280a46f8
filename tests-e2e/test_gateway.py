"""The gateway: what it refuses itself, whom it says a client is, and what it lets last."""

import asyncio
import time

import httpx
import pytest
from driving import Platform, lane, problem
from stacks import client_of, own_address

from platform_stack.stack import Stack

TOKENS = "/api/v1/admin/bootstrap-tokens"
JOBS = "/api/v1/platform-jobs"
REGISTER = "/api/v1/platform-agents/register"
GUESS = {"bootstrap_token": "abc123.0123456789abcdef", "name": "guesser"}
MEGABYTE = 1_048_576


async def test_it_says_that_it_is_well(gateway: httpx.AsyncClient) -> None:
    answer = await gateway.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/api/v1/platform-agents", "/api/v2/platform-jobs", "/"])
async def test_what_is_not_of_the_contract_is_404_and_a_problem(gateway: httpx.AsyncClient, path: str) -> None:
    problem(await gateway.get(path), 404, "not_found")


async def test_a_header_name_with_an_underscore_is_refused(platform: Platform) -> None:
    """X_API_KEY reads like X-API-Key to some servers."""
    answer = await platform.http.get(TOKENS, headers={**platform.admin, "X_API_Key": "rdv_agent_"})
    problem(answer, 400, "bad_request")


@pytest.mark.parametrize("slash", ["%2f", "%2F", "%5c", "%5C"])
async def test_an_escaped_slash_in_a_path_is_refused(stack: Stack, slash: str) -> None:
    status, _, body = await raw_request(stack, f"GET /api/v1{slash}admin/bootstrap-tokens HTTP/1.1")
    assert (status, b'"bad_request"' in body) == (400, True)


async def test_ambiguous_framing_is_refused(stack: Stack) -> None:
    both = "Content-Length: 2\r\nTransfer-Encoding: chunked"
    status, _, _ = await raw_request(stack, f"POST {JOBS} HTTP/1.1", both, body=b"0\r\n\r\n")
    assert status == 400


async def test_dots_in_a_path_lead_nowhere_else(stack: Stack) -> None:
    status, _, body = await raw_request(stack, "GET /api/v1/platform-jobs/../../healthz/../metrics HTTP/1.1")
    assert (status, b'"not_found"' in body) == (404, True)


@pytest.mark.parametrize(("path", "most"), [(JOBS, 1_310_720), (TOKENS, 131_072)])
async def test_a_body_beyond_the_cap_is_413_while_the_client_is_still_sending(
    stack: Stack, path: str, most: int
) -> None:
    reader, writer = await connected(stack)
    writer.write(head(stack, f"POST {path} HTTP/1.1", f"Content-Length: {most * 4}"))
    sending = asyncio.create_task(send_slowly(writer, most + 65_536))
    status_line = await asyncio.wait_for(reader.readline(), 20)
    headers = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    assert status_line.startswith(b"HTTP/1.1 413")
    assert b"application/problem+json" in headers
    assert b"x-request-id" in headers.lower()
    sending.cancel()
    writer.close()


async def test_a_payload_beyond_1_mb_that_the_gateway_lets_pass_is_413_by_the_service(platform: Platform) -> None:
    tenant = await platform.tenant()
    payload = {"note": "x" * MEGABYTE}
    problem(await tenant.submit(payload=payload, capabilities=[lane()]), 413, "payload_too_large")


async def test_a_small_route_takes_no_large_body(platform: Platform) -> None:
    answer = await platform.http.post(TOKENS, headers=platform.admin, content=b" " * 70_000)
    problem(answer, 413, "payload_too_large")


async def test_a_result_may_have_10_mb_and_no_more(platform: Platform) -> None:
    capability = lane()
    agent, tenant = await platform.agent(capability), await platform.tenant()
    await tenant.submitted(capabilities=[capability])
    (job,) = await agent.jobs()
    await agent.report(job, "ack")
    edge = len(b'{"status":"completed","result":{"note":""}}')
    body = {"status": "completed", "result": {"note": "x" * (10 * MEGABYTE - edge)}}
    too_much = {"status": "completed", "result": {"note": "x" * (10 * MEGABYTE - edge + 1)}}
    problem(await agent.report(job, "result", too_much), 413, "payload_too_large")
    assert (await agent.report(job, "result", body)).status_code == 200


async def test_the_fifth_failure_bans_the_address_and_a_forged_forwarded_for_does_not_dodge_it(stack: Stack) -> None:
    async with client_of(stack, address=own_address()) as guesser:
        forged = ({"X-Forwarded-For": f"203.0.113.{n}"} for n in range(7))
        answers = [await guesser.post(REGISTER, json=GUESS, headers=headers) for headers in forged]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
    banned = problem(answers[-1], 429, "banned")
    assert int(answers[-1].headers["retry-after"]) <= 15 * 60, banned


async def test_a_forged_forwarded_for_does_not_ban_somebody_else(stack: Stack) -> None:
    victim = own_address()
    async with client_of(stack, address=own_address()) as guesser:
        for _ in range(7):
            answer = await guesser.post(REGISTER, json=GUESS, headers={"X-Forwarded-For": victim})
        problem(answer, 429, "banned")
    async with client_of(stack, address=victim) as innocent:
        problem(await innocent.post(REGISTER, json=GUESS), 401, "token_invalid")


async def test_100_parallel_failures_are_no_more_than_five_guesses(stack: Stack) -> None:
    async with client_of(stack, address=own_address()) as guesser:
        answers = await asyncio.gather(*(guesser.post(REGISTER, json=GUESS) for _ in range(100)))
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(401), statuses.count(429)) == (5, 95)


async def test_a_banned_address_is_refused_with_a_right_key_too(stack: Stack, platform: Platform) -> None:
    agent = await platform.agent()
    async with client_of(stack, address=own_address()) as guesser:
        for _ in range(5):
            await guesser.post(REGISTER, json=GUESS)
        problem(await guesser.post("/api/v1/platform-agent/poll", headers=agent.headers), 429, "banned")
    assert (await agent.poll(timeout=0)).status_code == 200


async def test_a_poll_outlives_the_time_that_other_routes_have(platform: Platform) -> None:
    """Envoy's default and ours elsewhere is 15 seconds."""
    agent = await platform.agent(lane())
    start = time.monotonic()
    assert await agent.jobs(timeout=17) == []
    assert time.monotonic() - start >= 17


async def send_slowly(writer: asyncio.StreamWriter, count: int) -> None:
    for _ in range(0, count, 65_536):
        writer.write(b" " * 65_536)
        await writer.drain()


async def connected(stack: Stack) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", stack.plan.port)


def head(stack: Stack, request_line: str, *lines: str) -> bytes:
    return "\r\n".join([request_line, f"Host: 127.0.0.1:{stack.plan.port}", *lines, "", ""]).encode()


async def raw_request(stack: Stack, request_line: str, *lines: str, body: bytes = b"") -> tuple[int, bytes, bytes]:
    """Status, headers and body of what httpx would not send as it stands."""
    reader, writer = await connected(stack)
    writer.write(head(stack, request_line, "Connection: close", *lines) + body)
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    headers, _, rest = answer.partition(b"\r\n\r\n")
    return int(headers.split()[1]), headers, rest
