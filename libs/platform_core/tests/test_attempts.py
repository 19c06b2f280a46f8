"""What becomes of a job whose agent is gone."""

import pytest

from platform_core.domain.attempts import GiveUp, Requeue, after_lost_attempt


@pytest.mark.parametrize(
    ("retry_count", "expected"),
    [
        (0, Requeue(retry_count=1)),
        (2, Requeue(retry_count=3)),
        (3, GiveUp("no agent finished it in 4 tries")),
        (4, GiveUp("no agent finished it in 5 tries")),
    ],
    ids=["the first", "the last but one", "retries spent", "the limit was lowered meanwhile"],
)
def test_after_max_retries_the_job_is_failed_with_the_reason(retry_count: int, expected: Requeue | GiveUp) -> None:
    assert after_lost_attempt(retry_count=retry_count, max_retries=3) == expected


def test_no_retries_means_one_try() -> None:
    assert after_lost_attempt(retry_count=0, max_retries=0) == GiveUp("no agent finished it in 1 tries")
