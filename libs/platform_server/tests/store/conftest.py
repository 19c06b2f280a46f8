"""A second pool, for races that come in by two doors."""

from collections.abc import AsyncIterator

import pytest

from platform_server.store.connection import Pool, open_pool


@pytest.fixture
async def other_pool(database: str) -> AsyncIterator[Pool]:
    async with open_pool(database, size=10, name="tests-other") as opened:
        yield opened
