"""Self-registration, and the agents as administrators see and move them. A handler decodes, calls, encodes."""

from collections import Counter
from collections.abc import Sequence
from uuid import UUID

import msgspec
from starlette.responses import Response

from platform_core.domain.agents import AgentStatus
from platform_core.domain.ids import AgentId
from platform_core.wire import agents as wire
from platform_core.wire.queries import AgentQuery
from platform_server.kit import clock, pages
from platform_server.kit.bodies import answer, no_content, read
from platform_server.store import agents as store
from platform_server.store.connection import acquire
from registration import agents, enrolment
from registration.administrators import Administrator
from registration.routes.requests import Request, address_of, agent_id


async def register(request: Request) -> Response:
    asked = await read(request, wire.Register)
    at, address = request.state, address_of(request)
    async with enrolment.limited(at["limiter"], asked, address):
        keyed = await enrolment.enrol(
            at["pool"], at["announcer"], asked, new_id=AgentId(clock.new_id()), address=address
        )
    return _with_key(keyed, 201)


async def create(request: Request, by: Administrator) -> Response:
    asked = await read(request, wire.CreateAgent)
    at = request.state
    return _with_key(await agents.create(at["pool"], at["announcer"], by, asked, new_id=AgentId(clock.new_id())), 201)


async def disable(request: Request, by: Administrator) -> Response:
    asked = await read(request, wire.DisableAgent)
    at = request.state
    return _answer(await agents.disable(at["pool"], at["announcer"], by, agent_id(request), reason=asked.reason))


async def enable(request: Request, by: Administrator) -> Response:
    at = request.state
    return _answer(await agents.enable(at["pool"], at["announcer"], by, agent_id(request)))


async def drain(request: Request, by: Administrator) -> Response:
    at = request.state
    return _answer(await agents.drain(at["pool"], at["announcer"], by, agent_id(request)))


async def rotate_key(request: Request, by: Administrator) -> Response:
    at = request.state
    return _with_key(
        await agents.rotate_key(at["pool"], at["announcer"], by, agent_id(request), grace=at["rotation_grace"])
    )


async def delete(request: Request, by: Administrator) -> Response:
    at = request.state
    await agents.delete(at["pool"], at["announcer"], by, agent_id(request))
    return no_content()


async def get(request: Request, _: Administrator) -> Response:
    async with acquire(request.state["pool"]) as conn:
        agent = await store.find(conn, agent_id(request))
        jobs = await store.held_jobs(conn, agent.id)
    held = msgspec.convert(jobs, tuple[wire.HeldJob, ...])
    return answer(wire.AgentWithJobs(agent=view(agent), jobs=held))


async def listing(request: Request, _: Administrator) -> Response:
    asked = pages.query(request, AgentQuery)
    async with acquire(request.state["pool"]) as conn:
        found = await store.page(
            conn,
            status=asked.status,
            region=asked.region,
            capability=asked.capability,
            after=pages.after(asked, UUID),
            limit=asked.limit + 1,
        )
    page = pages.cut(found, asked, lambda agent: agent.id)
    return answer(wire.AgentList(agents=tuple(view(a) for a in page.items), next_cursor=page.next_cursor))


async def stats(request: Request, _: Administrator) -> Response:
    async with acquire(request.state["pool"]) as conn:
        totals = await store.totals(conn)
    return answer(_stats(totals))


def view(agent: store.Agent) -> wire.Agent:
    return msgspec.convert(agent, wire.Agent, from_attributes=True)


def _answer(agent: store.Agent) -> Response:
    return answer(wire.AgentAnswer(agent=view(agent)))


def _with_key(keyed: agents.Keyed, status: int = 200) -> Response:
    return answer(wire.AgentWithKey(agent=view(keyed.agent), api_key=keyed.api_key), status)


def _stats(totals: Sequence[store.Total]) -> wire.AgentStats:
    by_status, by_region = Counter(dict.fromkeys(AgentStatus, 0)), Counter[str]()
    for total in totals:
        by_status[total.status] += total.agents
        by_region[total.region] += total.agents
    able = [total for total in totals if total.status is AgentStatus.ONLINE]
    capacity, running = sum(t.slots for t in able), sum(t.running for t in able)
    return wire.AgentStats(
        total=by_status.total(),
        by_status=by_status,
        by_region=by_region,
        capacity=capacity,
        running=running,
        # An administrator may have lowered max_concurrent below what runs.
        free=max(0, capacity - running),
    )
