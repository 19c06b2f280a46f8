"""Server-sent events for agents: cancelled, lost, drain. What pub/sub missed is read from Postgres at the opening."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection

import msgspec

from dispatcher.broker import Broker
from platform_core.domain.ids import AgentId, JobId
from platform_core.wire.events import AgentControl, ControlKind
from platform_core.wire.protocol import EventKind, JobEventBody
from platform_server.kit.agent_auth import AgentKeys
from platform_server.store import attempts
from platform_server.store.agents import Identity
from platform_server.store.connection import Pool, acquire

KEEP_ALIVE_SECONDS = 15.0

_KEEP_ALIVE = b": still here\n\n"


class Control:
    """Takes in ``agent_control`` messages: tells event streams, ends polls, forgets keys."""

    def __init__(self, pool: Pool, broker: Broker, keys: AgentKeys[Identity]) -> None:
        self._pool = pool
        self._broker = broker
        self._keys = keys
        self._streams: dict[AgentId, set[asyncio.Queue[bytes | None]]] = defaultdict(set)

    @property
    def listening(self) -> Collection[AgentId]:
        """Agents whose streams are open here."""
        return self._streams.keys()

    def heard(self, raw: bytes) -> None:
        """One message of the channel."""
        control = msgspec.json.decode(raw, type=AgentControl)
        agent = AgentId(control.agent_id)
        match control.kind:
            case ControlKind.CANCEL | ControlKind.LOST if control.job_id is not None:
                kind = EventKind.CANCELLED if control.kind is ControlKind.CANCEL else EventKind.LOST
                self._tell(agent, event(kind, JobId(control.job_id)))
            case ControlKind.DRAIN:
                self._tell(agent, event(EventKind.DRAIN))
                self._broker.end_polls_of(agent)
            case ControlKind.DISABLE | ControlKind.DELETE:
                self._keys.forget(agent)
                self._tell(agent, None)
                self._broker.end_polls_of(agent)
            case ControlKind.ENABLE:
                self._keys.forget(agent)
                self._broker.look_again()
            case _:
                self._keys.forget(agent)

    async def end_idle(self) -> int:
        """A step: streams are for agents that hold a job; the others hear through their polls."""
        listening = set(self.listening)
        if listening:
            async with acquire(self._pool) as conn:
                holding = await attempts.holding(conn, listening)
            for agent in listening - holding:
                self._tell(agent, None)
        return 0

    async def stream(self, agent: AgentId, draining: asyncio.Event) -> AsyncIterator[bytes]:
        """The agent's events, until it holds no job, is disabled, or this process drains."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1000)
        self._streams[agent].add(queue)
        try:
            async with acquire(self._pool) as conn:
                held, missed = await attempts.holding(conn, [agent]), await attempts.cancelled_but_held(conn, agent)
            for job in missed:
                yield event(EventKind.CANCELLED, job)
            if not held:
                return
            while not draining.is_set():
                said = await self._next(queue, draining)
                if said is None:
                    return
                yield said
        finally:
            self._streams[agent].discard(queue)
            if not self._streams[agent]:
                del self._streams[agent]

    async def _next(self, queue: asyncio.Queue[bytes | None], draining: asyncio.Event) -> bytes | None:
        got = asyncio.ensure_future(queue.get())
        stop = asyncio.ensure_future(draining.wait())
        try:
            await asyncio.wait([got, stop], timeout=KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if got.done():
                return got.result()
            return None if stop.done() else _KEEP_ALIVE
        finally:
            got.cancel()
            stop.cancel()

    def _tell(self, agent: AgentId, said: bytes | None) -> None:
        for queue in self._streams.get(agent, ()):
            if not queue.full():
                queue.put_nowait(said)


def event(kind: EventKind, job: JobId | None = None) -> bytes:
    """One server-sent event."""
    data = msgspec.json.encode(JobEventBody(job_id=job)) if job is not None else b"{}"
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"
