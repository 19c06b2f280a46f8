"""Queue maintenance's settings; variables are ``PLATFORM_<NAME>``. Defaults are the specification's."""

from typing import Annotated

from msgspec import Meta

from platform_core.domain import agents, jobs
from platform_server.kit.settings import Seconds, ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """Durations in seconds, but the retention of jobs."""

    recovery_interval_seconds: Seconds = 60.0
    expiry_interval_seconds: Seconds = 300.0
    priority_interval_seconds: Seconds = 30.0
    retention_interval_seconds: Seconds = 3600.0
    archive_interval_seconds: Seconds = 1.0
    # How often what the claim keeps in mind is compared with the jobs that wait.
    reconcile_interval_seconds: Seconds = 60.0
    # How often slots of cancelled jobs are looked at.
    confirmation_interval_seconds: Seconds = 2.0
    gauges_interval_seconds: Seconds = 10.0
    # How long after the acting replica's last word another one takes over; it says so three times as often.
    lease_seconds: Seconds = 15.0
    ack_deadline_seconds: Seconds = jobs.ACK_DEADLINE.total_seconds()
    silence_seconds: Seconds = agents.STALE_AFTER.total_seconds()
    cancel_confirmation_seconds: Seconds = jobs.CANCEL_CONFIRMATION.total_seconds()
    queue_max_age_seconds: Seconds = jobs.QUEUE_MAX_AGE.total_seconds()
    # How long a job that is over stays beside those that wait and run.
    archive_after_seconds: Seconds = 60.0
    job_retention_days: Annotated[float, Meta(gt=0)] = jobs.JOB_RETENTION.days
    idempotency_seconds: Seconds = 86_400.0
    max_retries: Annotated[int, Meta(ge=0, le=100)] = jobs.MAX_RETRIES
