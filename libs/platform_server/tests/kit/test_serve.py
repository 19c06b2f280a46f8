import gc
from collections.abc import Iterator

import pytest

from platform_server.kit.serve import spare_collections


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_what_was_made_before_the_start_is_not_looked_at_again() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    spare_collections()
    assert gc.get_freeze_count() > 10_000
    assert gc.get_threshold()[0] == 20_000
    assert not any(one is cycle for one in gc.get_objects())
