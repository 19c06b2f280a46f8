"""An open model: what is due is sent when it is due, whatever became of what was sent before.

Only the standard library: the peers use it too, in their own environment.
"""

import asyncio
import resource
import time
from collections.abc import Callable, Coroutine, Sequence


async def offer(send: Callable[[float], Coroutine[None, None, None]], *, rate: float, seconds: float) -> None:
    """Send so many a second; each is told the time that it was meant for. Ends when all have returned."""
    start = time.perf_counter()
    sent: set[asyncio.Task[None]] = set()
    for n in range(int(rate * seconds)):
        due = start + n / rate
        if (early := due - time.perf_counter()) > 0:
            await asyncio.sleep(early)
        task = asyncio.create_task(send(due))
        sent.add(task)
        task.add_done_callback(sent.discard)
    while sent:
        await asyncio.gather(*sent)


def quantile(values: Sequence[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


class Share:
    """What share of a core this process took since it was made."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self._used = _cpu_seconds()

    def __call__(self) -> float:
        return (_cpu_seconds() - self._used) / (time.perf_counter() - self._since)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
