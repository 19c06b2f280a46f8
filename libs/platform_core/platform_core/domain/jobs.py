"""Jobs: their types, states, legal moves and limits (specification; docs/architecture.md)."""

from datetime import timedelta
from enum import StrEnum


class JobType(StrEnum):
    SCAN = "scan"
    COLLECT = "collect"
    HEALTH_CHECK = "health_check"


class Priority(StrEnum):
    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class JobStatus(StrEnum):
    QUEUED = "queued"
    ASSIGNED = "assigned"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


HELD = frozenset({JobStatus.ASSIGNED, JobStatus.RUNNING})
OPEN = HELD | {JobStatus.QUEUED}
OVER = frozenset(JobStatus) - OPEN

LEGAL_MOVES: frozenset[tuple[JobStatus, JobStatus]] = frozenset(
    {
        (JobStatus.QUEUED, JobStatus.ASSIGNED),
        (JobStatus.QUEUED, JobStatus.CANCELLED),
        (JobStatus.QUEUED, JobStatus.EXPIRED),
        (JobStatus.ASSIGNED, JobStatus.RUNNING),
        (JobStatus.ASSIGNED, JobStatus.QUEUED),
        (JobStatus.ASSIGNED, JobStatus.FAILED),
        (JobStatus.ASSIGNED, JobStatus.CANCELLED),
        (JobStatus.RUNNING, JobStatus.COMPLETED),
        (JobStatus.RUNNING, JobStatus.FAILED),
        (JobStatus.RUNNING, JobStatus.QUEUED),
        (JobStatus.RUNNING, JobStatus.CANCELLED),
    }
)


def may_move(before: JobStatus, after: JobStatus) -> bool:
    """Is this a legal transition? Staying is not a move."""
    return (before, after) in LEGAL_MOVES


MAX_PAYLOAD_BYTES = 1_048_576
MAX_RESULT_BYTES = 10 * 1_048_576
MAX_TIMEOUT = timedelta(hours=2)
DEFAULT_TIMEOUT = timedelta(seconds=1800)
TOKEN_GRACE = timedelta(minutes=10)
ACK_DEADLINE = timedelta(seconds=60)
QUEUE_MAX_AGE = timedelta(seconds=86_400)
CANCEL_CONFIRMATION = timedelta(seconds=60)
JOB_RETENTION = timedelta(days=30)
MAX_RETRIES = 3


def token_lifetime(timeout: timedelta) -> timedelta:
    """How long a job token lives from the hand-out: timeout + 10 minutes (specification, "Job Authentication")."""
    return timeout + TOKEN_GRACE
