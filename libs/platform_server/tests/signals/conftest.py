"""A client of an empty Redis, and one of a Redis that is away."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from platform_server.signals.connection import connect


@pytest.fixture
async def client(redis: str) -> AsyncIterator[Redis]:
    async with connect(redis) as opened:
        yield opened


@pytest.fixture
async def away() -> AsyncIterator[Redis]:
    """Nobody listens there."""
    async with connect("redis://127.0.0.1:1/0") as opened:
        yield opened
