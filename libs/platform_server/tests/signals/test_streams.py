"""Event streams and their readers."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from redis.asyncio import Redis

from platform_core.wire.events import AgentEvent, AgentEventKind
from platform_server.signals.streams import Reader, Stream

BODY = b"body"
AT_ONCE = timedelta(0)


def event(n: int) -> AgentEvent:
    return AgentEvent(kind=AgentEventKind.OFFLINE, agent_id=UUID(int=n))


async def append(client: Redis, *numbers: int) -> None:
    for n in numbers:
        await client.xadd(Stream.AGENTS, {BODY: msgspec.json.encode(event(n))})


def reader(client: Redis, consumer: str = "first", *, group: str = "tests", **other: Any) -> Reader[AgentEvent]:
    return Reader(client, Stream.AGENTS, AgentEvent, group=group, consumer=consumer, **other)


async def read(by: Reader[AgentEvent], **how: int) -> list[int]:
    return [told.agent_id.int for _, told in await by.read(block_ms=1, **how)]


async def with_group(by: Reader[AgentEvent]) -> Reader[AgentEvent]:
    """The group is made by the first read."""
    assert await read(by) == []
    return by


async def pending(client: Redis) -> int:
    told: Sequence[Any] = await client.xpending_range(Stream.AGENTS, "tests", "-", "+", 100)
    return len(told)


async def test_a_group_reads_from_the_streams_beginning_in_order(client: Redis) -> None:
    await append(client, 1, 2)
    by = await with_group(reader(client))
    await append(client, 3)
    assert await read(by) == [1, 2, 3]
    assert await read(by) == []


async def test_an_event_is_delivered_to_one_consumer_of_a_group_and_to_every_group(client: Redis) -> None:
    first, second = await with_group(reader(client)), reader(client, "second")
    other = await with_group(reader(client, group="other"))
    await append(client, 1, 2)
    assert [await read(first, count=1), await read(second, count=1)] == [[1], [2]]
    assert await read(other) == [1, 2]


async def test_what_a_dead_consumer_was_given_is_delivered_to_another(client: Redis) -> None:
    dead = await with_group(reader(client, "dead"))
    await append(client, 1, 2)
    assert await read(dead) == [1, 2]
    heir = reader(client, "heir", redeliver_after=AT_ONCE)
    given = await heir.read(block_ms=1)
    assert [told.agent_id.int for _, told in given] == [1, 2]
    await heir.done([entry for entry, _ in given])
    assert await read(heir) == []
    assert await pending(client) == 0


async def test_a_consumer_that_comes_back_under_its_name_is_given_what_it_left_behind(client: Redis) -> None:
    await append(client, 1)
    assert await read(await with_group(reader(client))) == [1]
    assert await read(reader(client, redeliver_after=AT_ONCE)) == [1]


async def test_what_a_living_consumer_works_on_is_left_to_it(client: Redis) -> None:
    await append(client, 1)
    assert await read(await with_group(reader(client))) == [1]
    assert await read(reader(client, "second")) == []


async def test_more_than_one_batch_is_inherited_batch_by_batch(client: Redis) -> None:
    dead = await with_group(reader(client, "dead"))
    await append(client, 1, 2, 3)
    await read(dead)
    heir = reader(client, "heir", redeliver_after=AT_ONCE)
    inherited = []
    while given := await heir.read(count=2, block_ms=1):
        inherited += [told.agent_id.int for _, told in given]
        await heir.done([entry for entry, _ in given])
    assert inherited == [1, 2, 3]


async def test_what_was_trimmed_before_it_was_done_holds_nothing_up(client: Redis) -> None:
    dead = await with_group(reader(client, "dead"))
    await append(client, 1, 2)
    await read(dead)
    await client.xtrim(Stream.AGENTS, maxlen=1, approximate=False)
    assert await read(reader(client, "heir", redeliver_after=AT_ONCE)) == [2]
    assert await pending(client) == 1


async def test_an_event_that_cannot_be_read_is_passed_over_for_good(client: Redis) -> None:
    by = await with_group(reader(client, redeliver_after=AT_ONCE))
    await client.xadd(Stream.AGENTS, {BODY: b'{"kind": "from the future"}'})
    await client.xadd(Stream.AGENTS, {b"other": b"fields"})
    await append(client, 1)
    assert await read(by) == [1]
    assert await pending(client) == 1


async def test_fields_that_a_reader_does_not_know_are_ignored(client: Redis) -> None:
    by = await with_group(reader(client))
    newer = {**msgspec.to_builtins(event(1)), "version": 2, "of_the_future": True}
    await client.xadd(Stream.AGENTS, {BODY: msgspec.json.encode(newer)})
    assert await read(by) == [1]


async def test_a_flushed_redis_loses_the_group_and_the_reader_makes_it_anew(client: Redis) -> None:
    by = await with_group(reader(client))
    await client.flushall()
    await append(client, 1)
    assert await read(by) == []
    assert await read(by) == [1]


async def test_with_redis_away_nothing_is_read_and_nothing_raises(away: Redis) -> None:
    by = reader(away)
    assert await by.read() == []
    await by.done([b"1-0"])
