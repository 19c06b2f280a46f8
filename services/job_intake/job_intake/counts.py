"""``platform_jobs_submitted_total`` and ``job_validation_failures_total``: every submission is counted once."""

from collections.abc import Iterator
from contextlib import contextmanager

from job_intake.validation import Refused
from platform_core.domain.errors import DomainError, TooLarge
from platform_core.domain.jobs import JobType
from platform_server.kit import metrics


class Submission:
    """``type`` is known once the body was read."""

    type: JobType | None = None


@contextmanager
def refusals() -> Iterator[Submission]:
    """Count the submission as rejected when the body raises, by what was wrong with it."""
    submission = Submission()
    try:
        yield submission
    except DomainError as refusal:
        if isinstance(refusal, Refused):
            submission.type = refusal.type or submission.type
        for reason in _reasons(refusal):
            metrics.VALIDATION_FAILURES.labels(reason).inc()
        metrics.JOBS_SUBMITTED.labels(submission.type or "unknown", "rejected").inc()
        raise


@contextmanager
def early_refusals() -> Iterator[None]:
    """Count a submission that was turned away unread."""
    try:
        yield
    except DomainError:
        metrics.SUBMISSIONS_TURNED_AWAY.inc()
        metrics.JOBS_SUBMITTED.labels("unknown", "rejected").inc()
        raise


def accepted(kind: JobType) -> None:
    """Count a job that was queued; the first answer given again is no submission of its own."""
    metrics.JOBS_SUBMITTED.labels(kind, "accepted").inc()


def _reasons(refusal: DomainError) -> tuple[str, ...]:
    match refusal:
        case Refused():
            return refusal.reasons
        case TooLarge():
            return ("payload_too_large",)
        case _:
            return ()
