"""Pub/sub: at most once, so it only makes things quick. One subscription a process, fanned out in memory."""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum

import msgspec
from redis.asyncio import Redis

from platform_server.signals.connection import TROUBLE

Handler = Callable[[bytes], None]


class Channel(StrEnum):
    JOB_QUEUE = "job_queue"
    JOB_ASSIGNED = "job_assigned"
    AGENT_CONTROL = "agent_control"


class Subscription:
    """Keeps one pub/sub connection open, whatever happens to it. ``connected`` is set while messages can arrive.

    ``on_connect`` is called after each (re)subscription: what was published before it was lost, so look at Postgres.
    """

    def __init__(
        self, client: Redis, handlers: Mapping[Channel, Handler], *, on_connect: Callable[[], None] = lambda: None
    ) -> None:
        self._client = client
        self._handlers = {channel.encode(): handler for channel, handler in handlers.items()}
        self._on_connect = on_connect
        self.connected = asyncio.Event()

    async def run(self) -> None:
        """For ever; reconnects after a jittered second."""
        while True:
            try:
                await self._listen()
            except TROUBLE:
                self.connected.clear()
                await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311 - jitter, not a secret

    async def _listen(self) -> None:
        async with self._client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(*self._handlers)
            self.connected.set()
            self._on_connect()
            while True:
                message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=5.0)
                if message is not None and message["type"] == "message":
                    self._take_in(message["channel"], message["data"])

    def _take_in(self, channel: bytes, data: bytes) -> None:
        """A message that cannot be read (a newer service's, say) is passed over: what it told is in Postgres too."""
        with suppress(msgspec.DecodeError):
            self._handlers[channel](data)
