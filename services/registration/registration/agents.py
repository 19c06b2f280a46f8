"""What administrators do to agents. What others must hear of is told after the commit."""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from platform_core.domain import tokens as credentials
from platform_core.domain.attempts import AttemptOutcome
from platform_core.domain.errors import NameTaken
from platform_core.domain.ids import AgentId
from platform_core.wire.agents import CreateAgent, Register
from platform_core.wire.events import AgentEventKind, ControlKind
from platform_server.assembly.announcer import Announcer
from platform_server.store import agents, attempts
from platform_server.store.agents import Agent
from platform_server.store.connection import Pool
from registration.administrators import Administrator, acting


@dataclass(frozen=True, slots=True)
class Keyed:
    """An agent and its new API key, which is nowhere else: the platform keeps its hash."""

    agent: Agent
    api_key: str


def described(asked: Register | CreateAgent) -> agents.Description:
    """Each name once, in one order."""
    return agents.Description(
        name=asked.name,
        capabilities=sorted(set(asked.capabilities)),
        tools=sorted(set(asked.tools)),
        labels=sorted(set(asked.labels)),
        region=asked.region,
        max_concurrent=asked.max_concurrent,
        version=asked.version,
        hostname=asked.hostname,
    )


def new_key() -> tuple[str, agents.Key]:
    """An API key as it is told, and as it is stored."""
    raw = credentials.new_agent_key(secrets.token_bytes(32))
    return raw, agents.Key(hash=credentials.secret_hash(raw), prefix=credentials.key_prefix(raw))


async def create(pool: Pool, tell: Announcer, by: Administrator, asked: CreateAgent, *, new_id: AgentId) -> Keyed:
    """Make an agent without a token. Raises NameTaken."""
    api_key, key = new_key()
    async with acting(pool, by, "agent.create", new_id, detail={"name": asked.name}) as (conn, _):
        if not await agents.insert_if_name_free(conn, new_id, described(asked), key):
            raise NameTaken
        made = await agents.find(conn, new_id)
    await tell.agents(AgentEventKind.REGISTERED, [new_id])
    return Keyed(made, api_key)


async def disable(pool: Pool, tell: Announcer, by: Administrator, agent: AgentId, *, reason: str | None) -> Agent:
    """Refuse its key and take its jobs back. Raises NotFound."""
    async with acting(pool, by, "agent.disable", agent, detail={"reason": reason}) as (conn, _):
        await agents.disable(conn, agent, reason=reason)
        requeued = await attempts.requeue_of_agent(
            conn, agent, outcome=AttemptOutcome.AGENT_DISABLED, reason="the agent was disabled"
        )
        disabled = await agents.find(conn, agent)
    await tell.stop(ControlKind.LOST, ((agent, job.job) for job in requeued))
    await tell.control(ControlKind.DISABLE, agent)
    await tell.agents(AgentEventKind.DISABLED, [agent])
    await tell.requeued(requeued)
    return disabled


async def enable(pool: Pool, tell: Announcer, by: Administrator, agent: AgentId) -> Agent:
    """End a disablement or a drain. Raises NotFound."""
    async with acting(pool, by, "agent.enable", agent) as (conn, _):
        await agents.enable(conn, agent)
        enabled = await agents.find(conn, agent)
    await tell.control(ControlKind.ENABLE, agent)
    await tell.agents(AgentEventKind.ENABLED, [agent])
    return enabled


async def drain(pool: Pool, tell: Announcer, by: Administrator, agent: AgentId) -> Agent:
    """No new jobs; what runs may finish. Raises NotFound, or Conflict for a disabled agent."""
    async with acting(pool, by, "agent.drain", agent) as (conn, _):
        await agents.drain(conn, agent)
        draining = await agents.find(conn, agent)
    await tell.control(ControlKind.DRAIN, agent)
    await tell.agents(AgentEventKind.DRAINING, [agent])
    return draining


async def rotate_key(pool: Pool, tell: Announcer, by: Administrator, agent: AgentId, *, grace: timedelta) -> Keyed:
    """Give it a new API key; the one before lives on for ``grace``. Raises NotFound."""
    api_key, key = new_key()
    async with acting(pool, by, "agent.rotate_key", agent) as (conn, _):
        await agents.rotate_key(conn, agent, key, grace=grace)
        keyed = Keyed(await agents.find(conn, agent), api_key)
    await tell.control(ControlKind.ROTATE_KEY, agent)
    return keyed


async def delete(pool: Pool, tell: Announcer, by: Administrator, agent: AgentId) -> None:
    """Hide it for ever, and take its jobs back. Raises NotFound."""
    async with acting(pool, by, "agent.delete", agent) as (conn, _):
        await agents.delete(conn, agent)
        requeued = await attempts.requeue_of_agent(
            conn, agent, outcome=AttemptOutcome.AGENT_DELETED, reason="the agent was deleted"
        )
    await tell.stop(ControlKind.LOST, ((agent, job.job) for job in requeued))
    await tell.control(ControlKind.DELETE, agent)
    await tell.agents(AgentEventKind.DELETED, [agent])
    await tell.requeued(requeued)
