"""Redis only makes things quick; without Postgres the platform says when to come back, and comes back by itself."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import httpx
import psutil
import psycopg
import pytest
import redis
from driving import Agent, Platform, Tenant, eventually, lane, problem
from stacks import client_of, own_address

from platform_stack.stack import Stack

REGISTER = "/api/v1/platform-agents/register"
GUESS = {"bootstrap_token": "abc123.0123456789abcdef", "name": "guesser"}


@contextmanager
def without_redis(stack: Stack) -> Iterator[None]:
    stack.redis.stop()
    try:
        yield
    finally:
        stack.redis.start()


@contextmanager
def without_postgres(stack: Stack) -> Iterator[None]:
    stack.postgres.stop()
    try:
        yield
    finally:
        stack.postgres.start()


@contextmanager
def silent_postgres(stack: Stack) -> Iterator[None]:
    """It accepts connections and never answers."""
    assert stack.postgres.process is not None
    server = psutil.Process(stack.postgres.process.pid)
    everybody = [server, *server.children(recursive=True)]
    for process in everybody:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in everybody:
            process.send_signal(signal.SIGCONT)


def told(stack: Stack, name: str, path: str) -> httpx.Response:
    (service,) = stack.services[name]
    return httpx.get(f"http://127.0.0.1:{service.internal_port}{path}", timeout=15)


def readiness(stack: Stack, name: str) -> tuple[int, list[str]]:
    answer = told(stack, name, "/readyz")
    return answer.status_code, answer.json()["degraded"]


async def delivery(agent: Agent, tenant: Tenant, capability: str) -> float:
    """Seconds from the submission to a waiting agent's hand."""
    waiting = asyncio.create_task(agent.jobs(timeout=20))
    await asyncio.sleep(0.1)
    start = time.monotonic()
    await tenant.submitted(capabilities=[capability])
    (job,) = await waiting
    seconds = time.monotonic() - start
    await agent.finish(job)
    return seconds


async def test_without_redis_jobs_are_taken_and_delivered_and_with_it_quickly_again(fragile: Platform) -> None:
    capability = lane()
    agent, tenant = await fragile.agent(capability), await fragile.tenant()
    with without_redis(fragile.stack):
        assert await delivery(agent, tenant, capability) < 10
        assert readiness(fragile.stack, "dispatcher") == (200, ["redis"])

    async def quick() -> bool:
        return await delivery(agent, tenant, capability) < 0.3

    await eventually(quick)
    assert readiness(fragile.stack, "dispatcher") == (200, [])


async def test_flushall_loses_no_job(fragile: Platform) -> None:
    capability = lane()
    tenant = await fragile.tenant()
    before = [(await tenant.submitted(capabilities=[capability]))["job"]["id"] for _ in range(5)]
    redis.Redis.from_url(fragile.stack.redis.url).flushall()
    after = [(await tenant.submitted(capabilities=[capability]))["job"]["id"] for _ in range(5)]
    agent = await fragile.agent(capability, max_concurrent=10)
    got: list[str] = []
    while len(got) < 10:
        got += [job["id"] for job in await agent.jobs(timeout=5, max_jobs=10)]
    assert sorted(got) == sorted(before + after)


async def test_flushall_lifts_no_ban(fragile: Platform) -> None:
    async with client_of(fragile.stack, address=own_address()) as guesser:
        while (await guesser.post(REGISTER, json=GUESS)).status_code == 401:
            pass

        async def kept() -> bool:
            told = await fragile.http.get("/api/v1/admin/banned-ips", headers=fragile.admin)
            return len(told.json()["banned_ips"]) > 0

        await eventually(kept)
        redis.Redis.from_url(fragile.stack.redis.url).flushall()

        async def banned_again() -> bool:
            return (await guesser.post(REGISTER, json=GUESS)).status_code == 429

        assert await eventually(banned_again)


Away = Callable[[Stack], AbstractContextManager[None]]


@pytest.mark.parametrize("away", [without_postgres, silent_postgres])
async def test_without_postgres_it_is_503_and_afterwards_it_works_again(fragile: Platform, away: Away) -> None:
    tenant, agent = await fragile.tenant(), await fragile.agent()
    with away(fragile.stack):
        calls = (tenant.submit(capabilities=[lane()]), agent.heartbeat(), fragile.tell(agent.id, "drain"))
        for answer in await asyncio.gather(*calls):
            problem(answer, 503, "unavailable")
            assert answer.json()["detail"] == "The service cannot reach its database at the moment."
        assert told(fragile.stack, "dispatcher", "/readyz").status_code == 503
        assert told(fragile.stack, "dispatcher", "/healthz").status_code == 200

    async def works() -> bool:
        return (await tenant.submit(capabilities=[lane()])).status_code == 201

    await eventually(works, seconds=10)


async def test_too_many_submissions_are_429_with_the_time_to_wait(fragile: Platform) -> None:
    """How many is a setting of the plan."""
    tenant = await fragile.tenant("pro")
    with psycopg.connect(fragile.stack.database) as connection:
        connection.execute("UPDATE plans SET submit_rate = 1, submit_burst = 3 WHERE name = 'pro'")
    answers = []

    async def one_is_refused() -> bool:
        answers.append(await tenant.submit(capabilities=[lane()]))
        return answers[-1].status_code != 201

    # A Redis that was in trouble, as it was for the tests before, is left alone for a second, and holds nothing back.
    await eventually(one_is_refused, seconds=5)
    assert len(answers) > 3
    problem(answers[-1], 429, "rate_limited")
