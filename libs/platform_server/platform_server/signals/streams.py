"""Event streams: appended after the commit, trimmed by length, read by consumer groups."""

import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from enum import StrEnum
from math import inf
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from platform_server.signals.connection import TROUBLE

Event = TypeVar("Event", bound=Struct)

_Entry = tuple[bytes, dict[bytes, bytes]]

BODY = b"body"
MAX_LENGTH = 100_000


class Stream(StrEnum):
    JOBS = "platform:jobs"
    AGENTS = "platform:agents"


class Reader(Generic[Event]):
    """A consumer of a group: an event is delivered to one consumer, and again if that one dies before ``done``.

    What was delivered and is not done after ``redeliver_after`` is looked for as often, and at the first read.
    """

    def __init__(
        self,
        client: Redis,
        stream: Stream,
        kind: type[Event],
        *,
        group: str,
        consumer: str,
        redeliver_after: timedelta = timedelta(seconds=30),
    ) -> None:
        self._client = client
        self._stream = stream
        self._decoder = msgspec.json.Decoder(kind)
        self._group = group
        self._consumer = consumer
        self._redeliver_after = redeliver_after
        self._look_again_at = -inf

    async def read(self, *, count: int = 100, block_ms: int = 500) -> list[tuple[bytes, Event]]:
        """Events with their ids; empty when there are none or Redis is away. The group is made when missing."""
        try:
            entries = await self._left_behind(count) or await self._new(count, block_ms)
        except ResponseError:
            await self._make_group()
            return []
        except TROUBLE:
            return []
        return await self._readable(entries)

    async def done(self, entries: Sequence[bytes]) -> None:
        if entries:
            try:
                await self._client.xack(self._stream, self._group, *entries)
            except TROUBLE:
                return

    async def _new(self, count: int, block_ms: int) -> list[_Entry]:
        answer = await self._client.xreadgroup(
            self._group, self._consumer, {self._stream: ">"}, count=count, block=block_ms
        )
        return list(_entries(answer))

    async def _left_behind(self, count: int) -> list[_Entry]:
        if time.monotonic() < self._look_again_at:
            return []
        idle_ms = int(self._redeliver_after.total_seconds() * 1000)
        pending: Any = await self._client.xpending_range(self._stream, self._group, "-", "+", count, idle=idle_ms)
        if len(pending) < count:
            self._look_again_at = time.monotonic() + self._redeliver_after.total_seconds()
        if not pending:
            return []
        ids = [entry["message_id"] for entry in pending]
        claimed: Any = await self._client.xclaim(self._stream, self._group, self._consumer, idle_ms, ids)
        found = [(entry, fields) for entry, fields in claimed if fields]
        # What the stream has been trimmed of meanwhile can never be delivered; it would be looked at for ever.
        await self.done([entry for entry in ids if entry not in dict(found)])
        return found

    async def _readable(self, entries: Sequence[_Entry]) -> list[tuple[bytes, Event]]:
        """The events; one that cannot be read (a newer service's, say) is done with, or it would come for ever."""
        read: list[tuple[bytes, Event]] = []
        for entry, fields in entries:
            try:
                read.append((entry, self._decoder.decode(fields[BODY])))
            except (KeyError, msgspec.DecodeError):
                await self.done([entry])
        return read

    async def _make_group(self) -> None:
        try:
            await self._client.xgroup_create(self._stream, self._group, id="0", mkstream=True)
        except TROUBLE:
            return


def _entries(answer: Any) -> Iterator[_Entry]:
    """The entries of a reply in Redis' older and newer protocol alike."""
    streams = answer.items() if isinstance(answer, dict) else answer or ()
    for _, entries in streams:
        yield from entries
