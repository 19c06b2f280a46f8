"""Every metric, by its exact name. No label is unbounded: no address, no token, no job."""

from prometheus_client import Counter, Gauge, Histogram

# The five of the specification, "Security Monitoring", and agent_status of its alerting rules.
SECURITY_EVENTS = Counter("security_events_total", "Security events.", ["event_type"])
AUTH_FAILURES = Counter("auth_failures_total", "Refused credentials and rights.", ["reason"])
BANNED_IPS = Gauge("banned_ips_current", "Addresses banned at present; told by the acting agent-health.")
JOBS_SUBMITTED = Counter("platform_jobs_submitted_total", "Submissions.", ["type", "status"])
VALIDATION_FAILURES = Counter("job_validation_failures_total", "Submissions refused as invalid.", ["reason"])
SUBMISSIONS_TURNED_AWAY = Counter(
    "platform_submissions_turned_away_total", "Submissions refused unread: more were in work than could be answered."
)
AGENT_STATUS = Gauge("agent_status", "Agents by status; told by the acting agent-health.", ["type", "status"])

JOBS = Gauge("platform_jobs", "Open jobs; told by the acting queue-maintenance.", ["state"])
OLDEST_WAIT = Gauge("platform_jobs_oldest_wait_seconds", "Age of the oldest queued job.")
DELIVERY = Histogram(
    "platform_delivery_seconds",
    "From queued to handed out.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120, 600, 3600),
)
CLAIMS = Counter("platform_claims_total", "Claims, by what came of them.", ["outcome"])
CLAIM_BATCH = Histogram("platform_claim_batch_size", "Offers in a claim.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256))
HELD_POLLS = Gauge("platform_held_polls", "Polls held by this process.")
WAKEUPS = Counter("platform_wakeups_total", "Wake-ups received, by whether a poll was woken.", ["woke"])
ATTEMPTS = Counter("platform_attempts_total", "Ended attempts.", ["outcome"])
ARCHIVED = Counter("platform_jobs_archived_total", "Jobs that are over and left the table of those that wait and run.")
LEASES_EXPIRED = Counter("platform_lease_expirations_total", "Worker leases that were lost.", ["worker"])
REPAIRS = Counter("platform_reconcile_repairs_total", "Derived values that had to be mended; should stay 0.")
REDIS_UP = Gauge("platform_redis_up", "1 while this process reaches Redis; without it the limiter is local.")
REQUESTS = Histogram(
    "platform_http_request_seconds",
    "Requests by route and status; held polls apart.",
    ["method", "route", "status"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
)
