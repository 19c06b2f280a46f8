"""Attempts: how one hand-out of a job can end, and what becomes of the job."""

from dataclasses import dataclass
from enum import StrEnum


class AttemptOutcome(StrEnum):
    COMPLETED = "completed"
    FAILED = "failed"
    LOST = "lost"
    RELEASED = "released"
    PUT_BACK = "put_back"
    CANCELLED = "cancelled"
    AGENT_DISABLED = "agent_disabled"
    AGENT_DELETED = "agent_deleted"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Requeue:
    retry_count: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: str


def after_lost_attempt(*, retry_count: int, max_retries: int) -> Requeue | GiveUp:
    """Decide what becomes of a job whose agent is gone or silent."""
    if retry_count >= max_retries:
        return GiveUp(f"no agent finished it in {retry_count + 1} tries")
    return Requeue(retry_count=retry_count + 1)
