"""What holds for the five services: their settings exist, and the probes ask what they should."""

from importlib import import_module
from typing import Any

import msgspec
from rendering import Workload

from platform_server.kit import settings


def fields(command: str) -> dict[str, "msgspec.structs.FieldInfo"]:
    """The settings of the service by their variable: platform-job-intake has those of job_intake.settings."""
    kind = import_module(f"{command.removeprefix('platform-').replace('-', '_')}.settings").Settings
    return {settings.PREFIX + field.name.upper(): field for field in msgspec.structs.fields(kind)}


def given(service: Workload) -> dict[str, Any]:
    """Every variable that the container is given; None where a secret has the value."""
    (container,) = service.pod["containers"]
    named = {source["configMapRef"]["name"] for source in container["envFrom"]}
    found: dict[str, Any] = {}
    for config in service.others("ConfigMap"):
        if config["metadata"]["name"] in named:
            found |= config["data"]
    return found | {variable["name"]: variable.get("value") for variable in container["env"]}


def test_every_setting_that_is_given_exists_and_every_required_one_is_given(service: Workload) -> None:
    known = fields(service.pod["containers"][0]["command"][0])
    told = given(service)
    # The common ones go to every service; what a service is given by name alone is its own.
    assert told.keys() <= known.keys()
    assert {name for name, field in known.items() if field.required} <= told.keys()


def test_every_value_that_is_given_is_one_that_the_service_takes(service: Workload) -> None:
    known = fields(service.pod["containers"][0]["command"][0])
    for name, value in given(service).items():
        if value is not None:
            msgspec.convert(value, known[name].type, strict=False)


def test_started_and_alive_ask_the_event_loop_and_ready_asks_postgres(service: Workload) -> None:
    (container,) = service.pod["containers"]
    asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert asked["startup"] == asked["liveness"] == {"path": "/healthz", "port": "internal"}
    assert asked["readiness"] == {"path": "/readyz", "port": "internal"}


def test_a_service_waits_for_its_schema_and_for_the_gateway_to_forget_it(service: Workload) -> None:
    assert [first["command"] for first in service.pod["initContainers"]] == [["platform-ops", "migrate", "wait"]]
    assert service.pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 15}}}


def test_the_internal_port_is_in_no_service(service: Workload) -> None:
    ports = {port["name"] for entry in service.others("Service") for port in entry["spec"].get("ports", [])}
    assert ports == {"public"}
