"""What goes out, in one round trip and in order."""

from uuid import UUID

from redis.asyncio import Redis

from platform_core.wire.events import AgentEvent, AgentEventKind
from platform_server.signals import outgoing
from platform_server.signals.outgoing import Message
from platform_server.signals.streams import MAX_LENGTH, Reader, Stream

EVENTS = [AgentEvent(kind=AgentEventKind.OFFLINE, agent_id=UUID(int=n)) for n in range(3)]
MESSAGES = [Message(Stream.AGENTS, event) for event in EVENTS]


async def test_events_are_read_in_the_order_in_which_they_were_given(client: Redis) -> None:
    reader = Reader(client, Stream.AGENTS, AgentEvent, group="tests", consumer="first")
    assert await outgoing.send(client, MESSAGES)
    await reader.read(block_ms=1)
    assert [event for _, event in await reader.read(block_ms=1)] == EVENTS


async def test_a_stream_is_trimmed_by_length(client: Redis) -> None:
    fill = "for _ = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'body', 'old') end"
    for _ in range(20):
        await client.eval(fill, 1, Stream.AGENTS, (MAX_LENGTH + 1000) // 20)
    await outgoing.send(client, MESSAGES[:1])
    assert MAX_LENGTH <= await client.xlen(Stream.AGENTS) < MAX_LENGTH + 1000


async def test_with_redis_away_it_says_so_and_raises_nothing(away: Redis) -> None:
    assert not await outgoing.send(away, MESSAGES)


async def test_nothing_to_say_needs_no_redis(away: Redis) -> None:
    assert await outgoing.send(away, [])
