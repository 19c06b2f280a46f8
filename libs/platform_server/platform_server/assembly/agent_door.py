"""The door that agents come in by: their keys, the limiter in front of it, and what keeps both in order."""

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
            Loop("keep-bans", new_bans.keep, timedelta(seconds=1)),
            Loop("clean-up", clean_up, limits.cleanup_interval),
        ],
    )
