"""Which dispatchers hold a poll that could run a job now: what intake asks before it waits for an assignment."""

from collections.abc import Sequence
from typing import Final, cast

import msgspec
from redis.asyncio import Redis

from platform_core.domain.scheduling import Profile
from platform_server.signals.connection import TROUBLE

_PREFIX: Final = "waiting:"
_INDEX: Final = "waiting"
_SECONDS: Final = 5
# How often a dispatcher says it.
EVERY_SECONDS: Final = 1.0

_Offered = tuple[tuple[str, ...], tuple[str, ...], str]


async def announce(client: Redis, dispatcher: str, profiles: Sequence[Profile]) -> None:
    """Say which profiles' polls wait at this dispatcher; it holds for five seconds."""
    offered = [(sorted(p.capabilities), sorted(p.tools), p.region) for p in profiles]
    try:
        await client.set(_PREFIX + dispatcher, msgspec.json.encode(offered), ex=_SECONDS)
        await client.sadd(_INDEX, dispatcher)
    except TROUBLE:
        return


async def offered(client: Redis) -> list[Profile]:
    """The profiles of the polls that are known to wait; none when Redis is away."""
    try:
        dispatchers = cast("set[bytes]", await client.smembers(_INDEX))
        told = await client.mget([_PREFIX.encode() + d for d in dispatchers]) if dispatchers else []
    except TROUBLE:
        return []
    offers = [offer for raw in told if raw for offer in msgspec.json.decode(raw, type=list[_Offered])]
    return [Profile(frozenset(c), frozenset(t), region) for c, t, region in offers]
