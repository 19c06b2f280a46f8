"""A poll from its request to its jobs, and the signs of life that held polls are."""

from collections.abc import Awaitable, Callable, Sequence

from dispatcher.broker import Broker
from dispatcher.idle import Poll
from dispatcher.signs import Signs
from platform_core.domain.scheduling import Profile
from platform_core.wire.protocol import Poll as PollRequest
from platform_server.store import claims, polls
from platform_server.store.agents import Identity
from platform_server.store.connection import Pool, acquire


class Polls:
    """Makes offers out of requests; keeps profiles' numbers in memory, for they never change.

    ``announce`` tells which profiles' polls wait here.
    """

    def __init__(
        self, pool: Pool, broker: Broker, signs: Signs, *, announce: Callable[[Sequence[Profile]], Awaitable[None]]
    ) -> None:
        self._pool = pool
        self._broker = broker
        self._signs = signs
        self._announce = announce
        self._numbers: dict[Profile, int] = {}

    async def offer(self, agent: Identity, asked: PollRequest) -> Poll:
        """What the agent offers: what it registered, narrowed by its poll. It is noted as a sign of life."""
        profile = narrowed(agent.profile, asked)
        if profile not in self._numbers:
            async with acquire(self._pool) as conn:
                self._numbers[profile] = await claims.intern_profile(conn, profile)
        number = self._numbers[profile]
        await self._signs.offers(agent.agent, number)
        return Poll(agent.agent, number, profile, min(asked.max_jobs, agent.max_concurrent))

    async def note_held(self) -> int:
        """A step: held polls are signs of life. Returns 0: the next one is due after the interval."""
        await self._signs.held({poll.agent: poll.number for poll in self._broker.held})
        return 0

    async def tell_waiting(self) -> int:
        """A step: tell job intake which profiles wait here, so that it knows when an assignment is near."""
        await self._announce(list({poll.number: poll.profile for poll in self._broker.waiting}.values()))
        return 0

    async def sweep(self) -> int:
        """A step: while polls wait, look whether anything is queued that no wake-up told of."""
        if self._broker.held:
            async with acquire(self._pool) as conn:
                queued = await polls.any_queued(conn)
            if queued:
                self._broker.look_again()
        return 0


def narrowed(whole: Profile, asked: PollRequest) -> Profile:
    """Never wider than what is registered; what the poll does not name stays as it is."""
    if not (asked.capabilities or asked.tools):
        return whole
    return Profile(
        whole.capabilities & frozenset(asked.capabilities) if asked.capabilities else whole.capabilities,
        whole.tools & frozenset(asked.tools) if asked.tools else whole.tools,
        whole.region,
    )
