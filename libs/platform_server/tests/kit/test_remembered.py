"""Look-ups that are trusted for a moment."""

import time

import pytest

from platform_server.kit.remembered import Remembered


class Asked:
    """Counts how often it is asked; fails for what is unknown."""

    def __init__(self) -> None:
        self.times = 0

    async def find(self, key: str) -> str:
        self.times += 1
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
