"""The door that agents come in by: their keys, the limiter in front of it, and what keeps both in order."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from platform_server.assembly.bans import NewBans
from platform_server.kit import metrics
from platform_server.kit.agent_auth import AgentKeys
from platform_server.kit.loops import Loop
from platform_server.signals.connection import Client
from platform_server.signals.limiter import Limiter, LimiterSettings
from platform_server.store import agents
from platform_server.store.connection import Pool, acquire

# Twice in the second that a change may take to bite, with room for a slow look.
_CHANGES_SECONDS = 0.4


class Changes:
    """Keeps ``keys`` up to date with Postgres, whatever Redis tells or does not tell."""

    def __init__(self, pool: Pool, keys: AgentKeys[agents.Identity]) -> None:
        self._pool = pool
        self._keys = keys
        self._seen: str | None = None

    async def look(self) -> int:
        """A step. After one that failed it starts anew: who knows which Postgres answers next."""
        begun, seen = time.monotonic(), self._seen
        self._seen = None
        try:
            async with acquire(self._pool) as conn:
                changes = await agents.changes(conn, seen)
        except Exception:
            self._keys.lose_track()
            raise
        if seen is None:
            self._keys.follow_from(time.monotonic())
        self._keys.follow(changes.agents, as_of=begun)
        self._seen = changes.seen
        return 0


@dataclass(frozen=True, slots=True)
class AgentDoor:
    keys: AgentKeys[agents.Identity]
    loops: Sequence[Loop]


def agent_door(pool: Pool, redis: Client, limits: LimiterSettings) -> AgentDoor:
    """Authenticates agents by their keys; its loops must run."""
    new_bans = NewBans(pool)
    limiter = Limiter(redis, limits, on_ban=new_bans.add, on_redis=metrics.REDIS_UP.set)

    async def find(key_hash: str) -> agents.Identity | None:
        async with acquire(pool) as conn:
            return await agents.identity(conn, key_hash)

    keys = AgentKeys(find, limiter)

    async def clean_up() -> int:
        keys.sweep()
        limiter.cleanup()
        return 0

    return AgentDoor(
        keys,
        [
            Loop("credentials", Changes(pool, keys).look, timedelta(seconds=_CHANGES_SECONDS)),
            Loop("keep-bans", new_bans.keep, timedelta(seconds=1)),
            Loop("clean-up", clean_up, limits.cleanup_interval),
        ],
    )
