from pathlib import Path

import pytest

from platform_ops.gateway import BadEnvironment, render_for

TEMPLATE = (
    "$LISTEN_HOST $LISTEN_PORT $ADMIN_PORT $TRUSTED_HOPS $INTAKE_AT_ONCE"
    " | $DISPATCHER | $AGENT_HEALTH $REGISTRATION $JOB_INTAKE"
)
SERVICES = {
    "GATEWAY_DISPATCHER": "one:8000,two:8001",
    "GATEWAY_AGENT_HEALTH": "health:8000",
    "GATEWAY_REGISTRATION": "registration:8000",
    "GATEWAY_JOB_INTAKE": "intake:8000",
}


@pytest.fixture
def template(tmp_path: Path) -> Path:
    file = tmp_path / "envoy.yaml"
    file.write_text(TEMPLATE)
    return file


def test_every_endpoint_of_a_service_is_rendered(template: Path) -> None:
    rendered = render_for(template, SERVICES)
    assert rendered.startswith("0.0.0.0 8080 9901 0 48 | ")
    assert "{address: one, port_value: 8000}" in rendered
    assert "{address: two, port_value: 8001}" in rendered


def test_ports_and_trusted_hops_can_be_told(template: Path) -> None:
    told = {"GATEWAY_LISTEN": "127.0.0.1:80", "GATEWAY_ADMIN_PORT": "1", "GATEWAY_TRUSTED_HOPS": "2"}
    assert render_for(template, SERVICES | told).startswith("127.0.0.1 80 1 2 48 | ")


def test_what_job_intake_works_on_at_once_follows_its_endpoints_or_is_told(template: Path) -> None:
    two = SERVICES | {"GATEWAY_JOB_INTAKE": "one:8000,two:8000"}
    assert render_for(template, two).startswith("0.0.0.0 8080 9901 0 96 | ")
    assert render_for(template, two | {"GATEWAY_INTAKE_AT_ONCE": "7"}).startswith("0.0.0.0 8080 9901 0 7 | ")


@pytest.mark.parametrize("missing", SERVICES)
def test_a_missing_service_is_named(template: Path, missing: str) -> None:
    with pytest.raises(BadEnvironment, match=missing):
        render_for(template, {name: value for name, value in SERVICES.items() if name != missing})


@pytest.mark.parametrize("endpoint", ["dispatcher", ":8000", "dispatcher:http", ""])
def test_an_endpoint_is_host_and_port(template: Path, endpoint: str) -> None:
    with pytest.raises(BadEnvironment):
        render_for(template, SERVICES | {"GATEWAY_DISPATCHER": endpoint})
