"""``platform_jobs_submitted_total`` and ``job_validation_failures_total``: every submission is counted once."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from platform_core.domain.errors import DomainError, Invalid, TooLarge
from platform_core.domain.jobs import JobType
from platform_server.kit import metrics


@dataclass(slots=True)
class Submission:
    """``type`` is known once the body was read."""

    type: JobType | None = None


@contextmanager
def counted() -> Iterator[Submission]:
    """Count the submission that the body makes: accepted, or rejected when it raises."""
    submission = Submission()
    try:
        yield submission
    except DomainError as refusal:
        _count(submission, "rejected")
        if isinstance(refusal, TooLarge):
            metrics.VALIDATION_FAILURES.labels("payload_too_large").inc()
        elif isinstance(refusal, Invalid) and submission.type is None and not _told_apart(refusal):
            metrics.VALIDATION_FAILURES.labels("body_malformed").inc()
        raise
    _count(submission, "accepted")


def _told_apart(refusal: Invalid) -> bool:
    """Was it the payload, whose problems have reasons of their own?"""
    return all(error.field.startswith("payload") for error in refusal.errors)


def _count(submission: Submission, status: str) -> None:
    metrics.JOBS_SUBMITTED.labels(submission.type or "unknown", status).inc()
