"""One subscription a process, kept open whatever happens to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from redis.asyncio import Redis

from platform_core.wire.events import JobQueued
from platform_server.signals.wakeups import Channel, Subscription
from world import eventually


class Listener:
    """What a subscription heard, and how often it (re)connected."""

    def __init__(self, client: Redis) -> None:
        self.woken: list[JobQueued] = []
        self.told: list[bytes] = []
        self.connects = 0
        handlers = {Channel.JOB_QUEUE: self._wake, Channel.AGENT_CONTROL: self.told.append}
        self.subscription = Subscription(client, handlers, on_connect=self._connected)

    def _wake(self, raw: bytes) -> None:
        self.woken.append(msgspec.json.decode(raw, type=JobQueued))

    def _connected(self) -> None:
        self.connects += 1


@asynccontextmanager
async def listening(client: Redis) -> AsyncIterator[Listener]:
    listener = Listener(client)
    task = asyncio.create_task(listener.subscription.run())
    yield listener
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=1)
    assert task.cancelled()


async def connected(listener: Listener, *, times: int) -> None:
    async def so_often() -> bool:
        return listener.connects == times

    await eventually(so_often)


async def heard(client: Redis, listener: Listener, message: bytes) -> None:
    """Publishes it and waits until it came."""
    await client.publish(Channel.AGENT_CONTROL, message)

    async def it_came() -> bool:
        return message in listener.told

    await eventually(it_came)


async def test_a_message_goes_to_its_channels_handler(client: Redis) -> None:
    async with listening(client) as listener:
        await connected(listener, times=1)
        await client.publish(Channel.JOB_QUEUE, msgspec.json.encode(JobQueued(tool="nuclei")))
        await heard(client, listener, b"drain")
        assert listener.woken == [JobQueued(tool="nuclei")]
        assert listener.told == [b"drain"]


async def test_one_subscription_serves_all_channels(client: Redis) -> None:
    async with listening(client) as listener:
        await connected(listener, times=1)
        assert len(await client.client_list(_type="pubsub")) == 1
        heard = (Channel.JOB_QUEUE, Channel.AGENT_CONTROL)
        assert dict(await client.pubsub_numsub(*heard)) == {channel.encode(): 1 for channel in heard}


async def test_after_each_reconnect_the_process_is_told_to_look_at_postgres(client: Redis) -> None:
    async with listening(client) as listener:
        await connected(listener, times=1)
        await client.client_kill_filter(_type="pubsub")
        await connected(listener, times=2)
        assert listener.subscription.connected.is_set()
        await heard(client, listener, b"after")


async def test_a_message_that_cannot_be_read_ends_no_subscription(client: Redis) -> None:
    async with listening(client) as listener:
        await connected(listener, times=1)
        await client.publish(Channel.JOB_QUEUE, b"\xff{")
        await heard(client, listener, b"after")
        assert listener.connects == 1


async def test_with_redis_away_it_goes_on_trying(away: Redis) -> None:
    async with listening(away) as listener:
        await asyncio.sleep(0)
        assert not listener.subscription.connected.is_set()
        assert listener.connects == 0
