"""What is asked of every peer, and how it is counted. Runs in the peers' environment."""

import argparse
import asyncio
import gc
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import count

import uvloop
from pacing import Share, offer

_WARM_UP_SECONDS = 2.0


@dataclass
class Work:
    """Each job carries its number. ``started`` is called by the peer's handler, in the agent's place."""

    due: dict[int, float] = field(default_factory=dict)
    begun: dict[int, float] = field(default_factory=dict)
    came: dict[int, asyncio.Event] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=count)

    def started(self, number: int) -> None:
        self.begun[number] = time.perf_counter()
        if number in self.came:
            self.came[number].set()


Enqueue = Callable[[int], Awaitable[object]]
Peer = Callable[[str, Work, int], AbstractAsyncContextManager[Enqueue]]


async def _pickup(work: Work, enqueue: Enqueue, *, rate: float, seconds: float) -> list[float]:
    """Milliseconds from when a job was meant to be enqueued to the start of its handler."""

    async def send(due: float) -> None:
        number = next(work.numbers)
        work.due[number] = due
        await enqueue(number)

    await offer(send, rate=rate, seconds=_WARM_UP_SECONDS)
    warm = time.perf_counter()
    gc.freeze()
    await offer(send, rate=rate, seconds=seconds)
    deadline = time.perf_counter() + 10
    while len(work.begun) < len(work.due) and time.perf_counter() < deadline:
        await asyncio.sleep(0.1)
    return [(work.begun[n] - due) * 1000 for n, due in work.due.items() if due >= warm and n in work.begun]


async def _lifecycles(work: Work, enqueue: Enqueue, *, concurrency: int, seconds: float) -> float:
    """Jobs a second: so many callers, each enqueues one job, and the next when it was begun."""
    end = time.perf_counter() + _WARM_UP_SECONDS + seconds

    async def caller() -> None:
        while time.perf_counter() < end:
            number = next(work.numbers)
            came = work.came[number] = asyncio.Event()
            await enqueue(number)
            await came.wait()
            del work.came[number]

    async with asyncio.TaskGroup() as callers:
        for _ in range(concurrency):
            callers.create_task(caller())
    return sum(at >= end - seconds for at in work.begun.values()) / (time.perf_counter() - end + seconds)


async def _run(peer: Peer, asked: argparse.Namespace) -> dict[str, object]:
    work = Work()
    async with peer(asked.dsn, work, asked.concurrency) as enqueue:
        share = Share()
        if asked.what == "pickup":
            told: dict[str, object] = {
                "latencies": await _pickup(work, enqueue, rate=asked.rate, seconds=asked.seconds)
            }
        else:
            rate = await _lifecycles(work, enqueue, concurrency=asked.concurrency, seconds=asked.seconds)
            told = {"per_second": rate}
        return {**told, "share": share()}


def main(peer: Peer) -> None:
    """Prints what it measured as a line of JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dsn")
    parser.add_argument("what", choices=["pickup", "lifecycles"])
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--concurrency", type=int, default=64)
    print(json.dumps(uvloop.run(_run(peer, parser.parse_args()))))
