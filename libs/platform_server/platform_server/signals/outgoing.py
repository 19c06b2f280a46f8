"""What goes out: wake-ups are published, events appended to their streams, in the order in which they are given."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Struct
from redis.asyncio import Redis

from platform_server.signals.connection import TROUBLE
from platform_server.signals.streams import BODY, MAX_LENGTH, Stream
from platform_server.signals.wakeups import Channel


@dataclass(frozen=True, slots=True)
class Message:
    to: Channel | Stream
    body: Struct


async def send(client: Redis, messages: Sequence[Message]) -> bool:
    """In one round trip; False when Redis is away: nothing is lost, for Postgres has the facts and sweeps find them."""
    if not messages:
        return True
    try:
        async with client.pipeline(transaction=False) as pipe:
            for message in messages:
                body = msgspec.json.encode(message.body)
                match message.to:
                    case Channel():
                        pipe.publish(message.to, body)
                    case Stream():
                        pipe.xadd(message.to, {BODY: body}, maxlen=MAX_LENGTH, approximate=True)
            await pipe.execute()
    except TROUBLE:
        return False
    return True
