"""Event streams: appended after the commit, trimmed by length, read by consumer groups."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from platform_server.signals.connection import TROUBLE

Event = TypeVar("Event", bound=Struct)

_BODY = b"body"
_MAX_LENGTH = 100_000


class Stream(StrEnum):
    JOBS = "platform:jobs"
    AGENTS = "platform:agents"


async def append(client: Redis, stream: Stream, events: Sequence[Struct]) -> bool:
    """Append them; False when Redis is away. Nothing is lost by that: Postgres has the facts, sweeps find them."""
    if not events:
        return True
    try:
        async with client.pipeline(transaction=False) as pipe:
            for event in events:
                pipe.xadd(stream, {_BODY: msgspec.json.encode(event)}, maxlen=_MAX_LENGTH, approximate=True)
            await pipe.execute()
    except TROUBLE:
        return False
    return True


class Reader(Generic[Event]):
    """A consumer of a group: an event is delivered to one consumer, and again if that one dies before ``done``."""

    def __init__(self, client: Redis, stream: Stream, kind: type[Event], *, group: str, consumer: str) -> None:
        self._client = client
        self._stream = stream
        self._decoder = msgspec.json.Decoder(kind)
        self._group = group
        self._consumer = consumer

    async def read(self, *, count: int = 100, block_ms: int = 500) -> list[tuple[bytes, Event]]:
        """New events with their ids; empty when there are none or Redis is away. The group is made when missing."""
        try:
            answer = await self._client.xreadgroup(
                self._group, self._consumer, {self._stream: ">"}, count=count, block=block_ms
            )
        except ResponseError:
            await self._make_group()
            return []
        except TROUBLE:
            return []
        return [(entry, self._decoder.decode(fields[_BODY])) for entry, fields in _entries(answer)]

    async def done(self, entries: Sequence[bytes]) -> None:
        if entries:
            try:
                await self._client.xack(self._stream, self._group, *entries)
            except TROUBLE:
                return

    async def _make_group(self) -> None:
        try:
            await self._client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except TROUBLE:
            return


def _entries(answer: Any) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of a reply in Redis' older and newer protocol alike."""
    streams = answer.items() if isinstance(answer, dict) else answer or ()
    for _, entries in streams:
        yield from entries
