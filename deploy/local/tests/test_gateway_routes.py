"""The gateway's configuration: every path of the contract goes to its service, and Envoy takes the file."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from platform_core.wire import operations
from platform_core.wire.openapi import Operation
from platform_ops.gateway import SERVICES, Endpoint, render
from platform_stack.engines import validate_envoy
from platform_stack.stack import ENVOY_TEMPLATE

OWNERS = {
    "registration": operations.REGISTRATION,
    "job_intake": operations.JOB_INTAKE,
    "dispatcher": operations.DISPATCHER,
    "agent_health": operations.AGENT_HEALTH,
}
OWNED = [(operation, service) for service, owned in OWNERS.items() for operation in owned]
A_JOB = "01a210b6-7bfa-7bab-a380-2635cab191cb"
JOBS_OF_AGENTS = f"/api/v1/platform-agent/jobs/{A_JOB}"


@pytest.fixture(scope="module")
def rendered() -> str:
    """Two endpoints each."""
    services = {name: [Endpoint("one.internal", 8000), Endpoint("127.0.0.1", 8001)] for name in SERVICES}
    return render(ENVOY_TEMPLATE, services, listen=Endpoint("127.0.0.1", 8080), admin_port=9901, trusted_hops=1)


@pytest.fixture(scope="module")
def config(rendered: str) -> Any:
    return yaml.safe_load(rendered)["static_resources"]


@pytest.fixture(scope="module")
def manager(config: Any) -> Any:
    """The connection manager of the one public listener."""
    (listener,) = config["listeners"]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


@pytest.fixture(scope="module")
def routes(manager: Any) -> list[Any]:
    (host,) = manager["route_config"]["virtual_hosts"]
    return list(host["routes"])


def matches(match: Any, path: str) -> bool:
    if "path" in match:
        return bool(path == match["path"])
    if "prefix" in match:
        return path.startswith(match["prefix"])
    return re.fullmatch(match["safe_regex"]["regex"], path) is not None


def route_of(routes: list[Any], path: str) -> Any:
    """The first that matches, as Envoy does it; None when none does."""
    return next((route for route in routes if matches(route["match"], path)), None)


@pytest.mark.parametrize(("operation", "service"), OWNED, ids=lambda it: it.name if isinstance(it, Operation) else it)
def test_every_path_of_the_contract_goes_to_its_service(routes: list[Any], operation: Operation, service: str) -> None:
    path = operation.path.format(id=A_JOB, ip="203.0.113.7")
    assert route_of(routes, path)["route"]["cluster"] == service


@pytest.mark.parametrize("path", ["/", "/metrics", "/readyz", "/api/v1/platform-jobsx", "/api/v1/platform-agents/x"])
def test_nothing_else_goes_anywhere(routes: list[Any], path: str) -> None:
    assert route_of(routes, path) is None


def test_every_endpoint_of_a_service_is_there(config: Any) -> None:
    groups = {cluster["name"]: cluster["load_assignment"]["endpoints"] for cluster in config["clusters"]}
    told = {name: len(group["lb_endpoints"]) for name, (group,) in groups.items()}
    assert told == dict.fromkeys(SERVICES, 2)


def test_a_poll_has_more_time_than_it_may_wait_and_is_never_sent_twice(routes: list[Any]) -> None:
    route = route_of(routes, "/api/v1/platform-agent/poll")["route"]
    assert (route["timeout"], route["retry_policy"]) == ("70s", {"num_retries": 0})


@pytest.mark.parametrize("path", ["/api/v1/platform-agent/events", f"/api/v1/platform-jobs/{A_JOB}/events"])
def test_streams_of_events_have_no_timeout(routes: list[Any], path: str) -> None:
    route = route_of(routes, path)["route"]
    assert (route["timeout"], route["idle_timeout"]) == ("0s", "0s")


@pytest.mark.parametrize("path", ["/api/v1/platform-jobs", f"{JOBS_OF_AGENTS}/ack", "/api/v1/platform-agent/heartbeat"])
def test_everything_else_has_fifteen_seconds(routes: list[Any], path: str) -> None:
    assert route_of(routes, path)["route"]["timeout"] == "15s"


def test_what_was_sent_is_not_sent_again(manager: Any) -> None:
    (host,) = manager["route_config"]["virtual_hosts"]
    assert host["retry_policy"]["retry_on"] == "connect-failure"


@pytest.mark.parametrize(
    ("path", "limit"),
    [("/api/v1/platform-jobs", 1_048_576), (f"{JOBS_OF_AGENTS}/result", 10 * 1_048_576)],
    ids=["a payload has 1 MB", "a result has 10 MB"],
)
def test_the_cap_lies_above_the_services_own_limit(routes: list[Any], path: str, limit: int) -> None:
    (buffer,) = route_of(routes, path)["typed_per_filter_config"].values()
    assert limit < buffer["buffer"]["max_request_bytes"] <= 1.25 * limit


def test_clients_addresses_are_the_gateways_word(manager: Any) -> None:
    assert manager["use_remote_address"] is True
    assert manager["xff_num_trusted_hops"] == 1


def test_submissions_stand_in_line_and_streams_of_events_do_not(config: Any, routes: list[Any]) -> None:
    intake = next(cluster for cluster in config["clusters"] if cluster["name"] == "job_intake")
    submissions, streams = intake["circuit_breakers"]["thresholds"]
    assert (submissions["max_connections"], submissions["max_pending_requests"]) == (96, 512)
    assert (streams["priority"], streams["max_connections"]) == ("HIGH", 20_000)
    high = [route for route in routes if route.get("route", {}).get("priority") == "HIGH"]
    assert high == [route_of(routes, f"/api/v1/platform-jobs/{A_JOB}/events")]


def test_envoy_takes_it(rendered: str, tmp_path: Path) -> None:
    config = tmp_path / "envoy.yaml"
    config.write_text(rendered)
    told = validate_envoy(config)
    assert told.returncode == 0, told.stderr


def test_envoy_refuses_what_is_wrong(rendered: str, tmp_path: Path) -> None:
    """So that the test above can fail."""
    config = tmp_path / "envoy.yaml"
    config.write_text(rendered.replace("max_request_bytes", "max_request_bites"))
    assert validate_envoy(config).returncode != 0
