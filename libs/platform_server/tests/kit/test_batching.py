"""Group commit: no timer, no lost item, each its own result."""

import asyncio
from collections.abc import Sequence

import pytest

from platform_server.kit.batching import Batch


class Flush:
    """Doubles numbers, batch by batch, as soon as it is let through; 13 is a bad item, 666 spoils its batch."""

    def __init__(self, *, through: bool = True) -> None:
        self.batches: list[Sequence[int]] = []
        self.gate = asyncio.Event()
        if through:
            self.gate.set()

    async def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(items)
        await self.gate.wait()
        if 666 in items:
            raise ConnectionError
        return [ValueError(item) if item == 13 else item * 2 for item in items]


async def step() -> None:
    """Lets every task that can run go on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_idle_batch_starts_at_once() -> None:
    flush = Flush()
    assert await Batch(flush).add(1) == 2
    assert flush.batches == [[1]]


async def test_what_comes_while_a_flush_is_in_flight_is_the_next_batch() -> None:
    flush = Flush(through=False)
    batch = Batch(flush)
    adds = [asyncio.create_task(batch.add(1))]
    await step()
    adds += [asyncio.create_task(batch.add(n)) for n in (2, 3)]
    await step()
    assert flush.batches == [[1]]
    flush.gate.set()
    assert await asyncio.gather(*adds) == [2, 4, 6]
    assert flush.batches == [[1], [2, 3]]


async def test_a_bad_item_fails_alone() -> None:
    batch = Batch(Flush())
    good, bad, other = await asyncio.gather(*(batch.add(n) for n in (1, 13, 2)), return_exceptions=True)
    assert (good, other) == (2, 4)
    assert isinstance(bad, ValueError)


async def test_an_exception_of_the_flush_goes_to_all_of_its_items_and_the_next_batch_goes_on() -> None:
    batch = Batch(Flush(), max_size=2)
    answers = await asyncio.gather(*(batch.add(n) for n in (1, 666, 3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ConnectionError, ConnectionError, int]
    assert await batch.add(4) == 8


async def test_a_waiter_that_is_cancelled_takes_nobody_with_it() -> None:
    flush = Flush(through=False)
    batch = Batch(flush)
    gone, stays = (asyncio.create_task(batch.add(n)) for n in (1, 2))
    await step()
    gone.cancel()
    await step()
    flush.gate.set()
    assert await stays == 4
    assert gone.cancelled()


async def test_no_batch_is_larger_than_its_maximum_and_the_order_is_kept() -> None:
    flush = Flush()
    batch = Batch(flush, max_size=4)
    assert await asyncio.gather(*(batch.add(n) for n in range(10))) == [n * 2 for n in range(10)]
    assert [len(one) for one in flush.batches] == [4, 4, 2]
    assert [n for one in flush.batches for n in one] == list(range(10))


async def test_a_flush_that_answers_too_little_leaves_nobody_waiting() -> None:
    async def short(items: Sequence[int]) -> Sequence[int | Exception]:
        return list(items)[1:]

    batch = Batch(short)
    answers = await asyncio.gather(*(asyncio.wait_for(batch.add(n), 1) for n in (1, 2)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError, ValueError]


@pytest.mark.parametrize("concurrent", [1, 300])
async def test_any_number_of_items_is_answered(concurrent: int) -> None:
    batch = Batch(Flush())
    assert sum(await asyncio.gather(*(batch.add(1) for _ in range(concurrent)))) == 2 * concurrent
