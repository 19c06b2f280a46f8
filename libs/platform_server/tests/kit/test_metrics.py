"""The metrics of the specification: name, type and labels, to the letter."""

import pytest
from prometheus_client import REGISTRY, Counter, Gauge, generate_latest

from platform_server.kit import metrics


@pytest.mark.parametrize(
    ("name", "metric", "kind", "labels"),
    [
        ("security_events_total", metrics.SECURITY_EVENTS, "counter", ("event_type",)),
        ("auth_failures_total", metrics.AUTH_FAILURES, "counter", ("reason",)),
        ("banned_ips_current", metrics.BANNED_IPS, "gauge", ()),
        ("platform_jobs_submitted_total", metrics.JOBS_SUBMITTED, "counter", ("type", "status")),
        ("job_validation_failures_total", metrics.VALIDATION_FAILURES, "counter", ("reason",)),
        ("agent_status", metrics.AGENT_STATUS, "gauge", ("type", "status")),
    ],
)
def test_a_metric_is_that_of_the_specification(
    name: str, metric: Counter | Gauge, kind: str, labels: tuple[str, ...]
) -> None:
    values = dict.fromkeys(labels, "any")
    if labels:
        metric.labels(**values)
    assert f"# TYPE {name} {kind}\n" in generate_latest().decode()
    assert REGISTRY.get_sample_value(name, values) is not None
    if labels:
        metric.remove(*values.values())
