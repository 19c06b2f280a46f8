"""Self-registration: a bootstrap token's use is spent and an agent made, or an offline one taken over, or neither.

Every attempt leaves a row in the audit trail, a refused one too.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from platform_core.domain import tokens as credentials
from platform_core.domain.agents import Constraint, unmet
from platform_core.domain.errors import DomainError, NameTaken, TokenConstraint, TokenInvalid, Unavailable
from platform_core.domain.ids import AgentId
from platform_core.wire.agents import Register
from platform_core.wire.events import AgentEventKind, ControlKind
from platform_core.wire.tokens import RegistrationOutcome
from platform_server.assembly.announcer import Announcer
from platform_server.signals.limiter import Limiter
from platform_server.store import agents, tokens
from platform_server.store.connection import Conn, Pool, acquire, transaction
from registration.agents import Keyed, described, new_key


@asynccontextmanager
async def limited(limiter: Limiter, asked: Register, address: tokens.Address) -> AsyncIterator[None]:
    """Count the try: a bad token is a failure, a genuine one is none, whatever else was wrong. Raises Banned."""
    prefix = _public_part(asked.bootstrap_token)
    await limiter.reserve(address, prefix=prefix)
    try:
        yield
    except TokenInvalid:
        await limiter.failed(address, prefix=prefix)
        raise
    except (TokenConstraint, NameTaken):
        await limiter.succeeded(address, prefix=prefix)
        raise
    except Unavailable:
        await limiter.released(address, prefix=prefix)
        raise
    await limiter.succeeded(address, prefix=prefix)


async def enrol(pool: Pool, tell: Announcer, asked: Register, *, new_id: AgentId, address: tokens.Address) -> Keyed:
    """Enrol the agent. Raises TokenInvalid, TokenConstraint or NameTaken; then nothing is spent."""
    try:
        keyed = await _enrol(pool, asked, new_id=new_id, address=address)
    except (TokenInvalid, TokenConstraint, NameTaken) as refusal:
        await _record_refusal(pool, asked, refusal, address=address)
        raise
    # Whose key was replaced by a takeover is remembered nowhere from now on.
    await tell.control(ControlKind.ROTATE_KEY, keyed.agent.id)
    await tell.agents(AgentEventKind.REGISTERED, [keyed.agent.id])
    return keyed


async def _enrol(pool: Pool, asked: Register, *, new_id: AgentId, address: tokens.Address) -> Keyed:
    api_key, key = new_key()
    async with transaction(pool) as conn:
        token = await _spend(conn, asked)
        agent, outcome = await _make_or_take_over(conn, new_id, asked, key)
        await tokens.record(
            conn,
            tokens.Attempt(token=token.id, agent=agent, agent_name=asked.name, address=address, outcome=outcome),
        )
        return Keyed(await agents.find(conn, agent), api_key)


async def _spend(conn: Conn, asked: Register) -> tokens.Token:
    """Take a use first: its row lock makes the racing registrations of a token stand in line."""
    token = await _shown(conn, asked.bootstrap_token)
    if token is None:
        raise TokenInvalid("token_unknown")
    if not await tokens.take_use_if_usable(conn, token.id):
        raise TokenInvalid(f"token_{(await tokens.find(conn, token.id)).status}")
    constraint = Constraint(token.required_capabilities, token.required_tools, token.required_region)
    lacks = unmet(constraint, capabilities=asked.capabilities, tools=asked.tools, region=asked.region)
    if lacks:
        raise TokenConstraint(f"The token asks for more than this agent has: {', '.join(lacks)}.")
    return token


def _public_part(raw: str) -> str:
    try:
        return f"bootstrap:{credentials.parse_bootstrap(raw).prefix}"
    except TokenInvalid:
        return "bootstrap:malformed"


async def _shown(conn: Conn, raw: str) -> tokens.Token | None:
    parsed = credentials.parse_bootstrap(raw)
    return await tokens.matching(conn, prefix=parsed.prefix, token_hash=credentials.secret_hash(raw))


async def _make_or_take_over(
    conn: Conn, new_id: AgentId, asked: Register, key: agents.Key
) -> tuple[AgentId, RegistrationOutcome]:
    if await agents.insert_if_name_free(conn, new_id, described(asked), key):
        return new_id, RegistrationOutcome.REGISTERED
    return await agents.take_over_if_offline(conn, described(asked), key), RegistrationOutcome.TAKEN_OVER


async def _record_refusal(pool: Pool, asked: Register, refusal: DomainError, *, address: tokens.Address) -> None:
    """In a transaction of its own: the attempt's was rolled back."""
    async with acquire(pool) as conn:
        try:
            token = await _shown(conn, asked.bootstrap_token)
        except TokenInvalid:
            token = None
        await tokens.record(
            conn,
            tokens.Attempt(
                token=token.id if token else None,
                agent=None,
                agent_name=asked.name,
                address=address,
                outcome=RegistrationOutcome.REFUSED,
                reason=refusal.reason if isinstance(refusal, TokenInvalid) else refusal.code,
            ),
        )
