"""Look-ups that are trusted for a moment."""

import asyncio
import time

import pytest

from platform_server.kit.remembered import Remembered


class Asked:
    """Counts how often it is asked; fails for what is unknown."""

    def __init__(self) -> None:
        self.times = 0
        self.away = False

    async def find(self, key: str) -> str:
        self.times += 1
        if self.away:
            raise OSError("away")
        if key == "unknown":
            raise KeyError(key)
        return key.upper()


async def test_a_key_is_looked_up_once_while_it_is_trusted_and_again_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Asked()
    remembered = Remembered(asked.find, seconds=1)
    assert [await remembered.get("a"), await remembered.get("a"), await remembered.get("b")] == ["A", "A", "B"]
    assert asked.times == 2
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 1.1)
    assert await remembered.get("a") == "A"
    assert asked.times == 3


async def test_whoever_asks_after_half_of_the_time_does_not_wait_and_has_it_looked_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Asked()
    remembered = Remembered(asked.find, seconds=1)
    start = time.monotonic()
    await remembered.get("a")
    monkeypatch.setattr(time, "monotonic", lambda: start + 0.6)
    assert await remembered.get("a") == "A"
    await asyncio.sleep(0)
    assert asked.times == 2
    monkeypatch.setattr(time, "monotonic", lambda: start + 1.05)
    assert await remembered.get("a") == "A"
    assert asked.times == 2


async def test_an_answer_from_memory_is_given_though_the_look_up_beside_it_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Asked()
    remembered = Remembered(asked.find, seconds=1)
    start = time.monotonic()
    await remembered.get("a")
    asked.away = True
    monkeypatch.setattr(time, "monotonic", lambda: start + 0.6)
    assert await remembered.get("a") == "A"
    await asyncio.sleep(0)
    monkeypatch.setattr(time, "monotonic", lambda: start + 1.1)
    with pytest.raises(OSError, match="away"):
        await remembered.get("a")


async def test_those_that_ask_together_wait_for_one_look_up() -> None:
    asked = Asked()
    remembered = Remembered(asked.find, seconds=60)
    first, *others = [asyncio.create_task(remembered.get("a")) for _ in range(5)]
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.gather(*others) == ["A"] * 4
    assert asked.times == 1


async def test_what_fails_is_asked_again() -> None:
    asked = Asked()
    remembered = Remembered(asked.find, seconds=60)
    for _ in range(2):
        with pytest.raises(KeyError):
            await remembered.get("unknown")
    assert asked.times == 2


async def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform_server.kit.remembered._MOST", 2)
    asked = Asked()
    remembered = Remembered(asked.find, seconds=60)
    for key in ("a", "b", "c", "c", "a"):
        await remembered.get(key)
    assert asked.times == 4
