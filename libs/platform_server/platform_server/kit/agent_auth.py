"""Agents' API keys: form and checksum first, then a look-up that is trusted while every change is heard of.

A known agent's request costs no round trip to Postgres. Disabling or deleting bites by ``forget``, and within a second
when Redis is away: somebody reads the changes from Postgres and tells ``follow``, and what was not told for a second is
looked up again.
"""

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from math import inf
from typing import Final, Generic, Protocol, TypeVar

from platform_core.domain import tokens
from platform_core.domain.agents import AdminState
from platform_core.domain.errors import AgentDisabled, AgentTypeMismatch, KeyInvalid, Unauthenticated, Unavailable
from platform_core.domain.ids import AgentId

Address = IPv4Address | IPv6Address

TRUST_SECONDS: Final = 1.0
# However well the changes are followed: a look-up also notes that the key is in use.
_LOOKED_UP_AGAIN_SECONDS: Final = 300.0
# So long after its last use a key is looked up without asking the limiter, which trusts a verified key as long.
REMEMBERED_SECONDS: Final = 900.0


class AgentIdentity(Protocol):
    """What a look-up by key gives."""

    @property
    def agent(self) -> AgentId: ...
    @property
    def admin_state(self) -> AdminState: ...
    @property
    def is_platform_agent(self) -> bool: ...
    @property
    def key_prefix(self) -> str: ...
    @property
    def valid_seconds(self) -> float:
        """How long the key is still valid if nobody changes it."""


Identity = TypeVar("Identity", bound=AgentIdentity)


class Limiter(Protocol):
    """The auth-failure limiter; see `signals.limiter`."""

    async def reserve(self, address: Address, *, prefix: str) -> None:
        """Take a try. Raises Banned."""

    async def succeeded(self, address: Address, *, prefix: str) -> None: ...

    async def failed(self, address: Address, *, prefix: str) -> None: ...

    async def released(self, address: Address, *, prefix: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Known(Generic[Identity]):
    """``looked_up``: when the look-up began. ``until``: no longer, whatever is heard. By the process's clock."""

    identity: Identity
    looked_up: float
    until: float


class AgentKeys(Generic[Identity]):
    """Authenticates agents. ``find`` looks a key's hash up; None when nobody has it."""

    def __init__(self, find: Callable[[str], Awaitable[Identity | None]], limiter: Limiter) -> None:
        self._find = find
        self._limiter = limiter
        self._known: dict[str, _Known[Identity]] = {}
        self._forgotten: dict[AgentId, float] = {}
        self._followed_since = inf
        self._followed_until = -inf

    async def authenticate(self, raw: str | None, address: Address) -> Identity:
        """The agent with this key. Raises Banned, Unauthenticated, KeyInvalid, AgentTypeMismatch or AgentDisabled."""
        if raw is None:
            raise Unauthenticated("key_missing")
        known = self._known.get(raw)
        if known is None or not self._trusts(known):
            known = await self._verify(raw, address)
        identity = known.identity
        if not identity.is_platform_agent:
            raise AgentTypeMismatch
        if identity.admin_state is AdminState.DISABLED:
            raise AgentDisabled
        return identity

    def forget(self, agent: AgentId) -> None:
        """What is known of the agent's keys is out of date; so is a look-up that has begun."""
        self._forgotten[agent] = time.monotonic()
        self._known = {raw: known for raw, known in self._known.items() if known.identity.agent != agent}

    def follow_from(self, at: float) -> None:
        """From then on every change is told to `follow`, or `lose_track` is called."""
        self._followed_since = at

    def follow(self, changed: Iterable[AgentId], *, as_of: float) -> None:
        """These agents' credentials have changed since the last call; of no other did they change before ``as_of``."""
        for agent in changed:
            self.forget(agent)
        self._followed_until = as_of + TRUST_SECONDS

    def lose_track(self) -> None:
        """Changes may be missed from now on."""
        self._followed_since = inf

    def sweep(self) -> None:
        """Drop what has not been looked up for long, so that the memory follows the agents that are there."""
        oldest = time.monotonic() - REMEMBERED_SECONDS
        self._known = {raw: known for raw, known in self._known.items() if known.looked_up >= oldest}
        self._forgotten = {agent: at for agent, at in self._forgotten.items() if at >= oldest}

    def _trusts(self, known: _Known[Identity]) -> bool:
        now = time.monotonic()
        if now >= known.until:
            return False
        if now < known.looked_up + TRUST_SECONDS:
            return True
        return known.looked_up >= self._followed_since and now < self._followed_until

    async def _verify(self, raw: str, address: Address) -> _Known[Identity]:
        """A key that was right a while ago is no guess: the limiter hears of it only if it is right no more."""
        if raw in self._known:
            looked_up = time.monotonic()
            identity = await self._find(tokens.secret_hash(raw))
            if identity is not None:
                return self._remember(raw, identity, looked_up)
            del self._known[raw]
        return await self._verify_unknown(raw, address)

    async def _verify_unknown(self, raw: str, address: Address) -> _Known[Identity]:
        prefix = tokens.key_prefix(raw)
        await self._limiter.reserve(address, prefix=prefix)
        looked_up = time.monotonic()
        try:
            identity = await self._find(tokens.secret_hash(tokens.check_agent_key(raw)))
            if identity is None:
                raise KeyInvalid("key_unknown")
        except KeyInvalid:
            await self._limiter.failed(address, prefix=prefix)
            raise
        except Unavailable:
            await self._limiter.released(address, prefix=prefix)
            raise
        await self._limiter.succeeded(address, prefix=prefix)
        return self._remember(raw, identity, looked_up)

    def _remember(self, raw: str, identity: Identity, looked_up: float) -> _Known[Identity]:
        known = _Known(identity, looked_up, looked_up + min(identity.valid_seconds, _LOOKED_UP_AGAIN_SECONDS))
        if self._forgotten.get(identity.agent, -inf) < looked_up:
            self._known[raw] = known
        return known
