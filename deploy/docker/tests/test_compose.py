"""docker-compose.yml: what it hands to the services exists, and nothing is open that need not be."""

import re
import tomllib
from importlib import import_module
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from exploop_agent import settings as agent_settings
from platform_server.kit import settings
from platform_server.kit.settings import job_token_keys

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("registration", "job-intake", "dispatcher", "agent-health", "queue-maintenance")
ONCE = ("migrate", "gateway-config", "agent-token", "token")


def defaults(text: str) -> str:
    """The text as it is when no variable is set."""
    return re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", text)


@pytest.mark.parametrize("name", OURS)
def test_every_setting_that_is_given_exists_and_is_one_that_the_service_takes(name: str) -> None:
    kind = import_module(f"{name.replace('-', '_')}.settings").Settings
    known = {settings.PREFIX + field.name.upper() for field in msgspec.structs.fields(kind)}
    told = {key: defaults(value) for key, value in SERVICES[name]["environment"].items()}
    assert told.keys() <= known
    read = settings.read(kind, told)
    assert job_token_keys(read.job_token_keys)


def test_the_agent_is_told_what_it_knows() -> None:
    told = {key: defaults(value) for key, value in SERVICES["agent"]["environment"].items()}
    known = set(re.findall(r'"((?:AGENT|EXPLOOP|REDIVER)_[A-Z_]+)"', Path(agent_settings.__file__).read_text()))
    assert told.keys() <= known


@pytest.mark.parametrize("name", OURS)
def test_each_service_has_a_command_of_its_own(name: str) -> None:
    project = tomllib.loads((ROOT / "services" / name.replace("-", "_") / "pyproject.toml").read_text())["project"]
    assert SERVICES[name]["command"] == list(project["scripts"])


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_a_read_only_root_and_gains_no_privilege(name: str) -> None:
    assert SERVICES[name]["read_only"] is True
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]
    # Postgres' own image begins as root and steps down.
    assert SERVICES[name].get("cap_drop") == (None if name == "postgres" else ["ALL"])


@pytest.mark.parametrize("name", SERVICES)
def test_what_stays_is_restarted_and_tells_its_health(name: str) -> None:
    if name in ONCE:
        assert SERVICES[name]["restart"] == "no"
        assert SERVICES[name]["healthcheck"] == {"disable": True}
        return
    assert SERVICES[name]["restart"] == "unless-stopped"
    from_image = "deploy/docker/Dockerfile" in str(SERVICES[name].get("build"))
    assert from_image or "test" in SERVICES[name]["healthcheck"]


def test_only_the_gateway_is_published_and_only_to_this_machine() -> None:
    published = {name: told["ports"] for name, told in SERVICES.items() if "ports" in told}
    assert {name: [defaults(port) for port in ports] for name, ports in published.items()} == {
        "gateway": ["127.0.0.1:8080:8080"]
    }


def test_agents_reach_the_gateway_only_and_databases_are_reached_by_services_only() -> None:
    on = {
        network: {name for name, told in SERVICES.items() if network in told.get("networks", ())}
        for network in COMPOSE["networks"]
    }
    assert on["front"] == {"gateway", "agent", "agent-token", "token"}
    assert on["services"] == {"gateway", *OURS} - {"queue-maintenance"}
    assert on["data"] == {"postgres", "redis", "migrate", *OURS}
    assert COMPOSE["networks"]["data"]["internal"] is COMPOSE["networks"]["services"]["internal"] is True


def test_only_the_gateways_own_address_is_believed() -> None:
    address = defaults(SERVICES["gateway"]["networks"]["services"]["ipv4_address"])
    (network,) = COMPOSE["networks"]["services"]["ipam"]["config"]
    for name in OURS:
        assert defaults(SERVICES[name]["environment"]["PLATFORM_TRUSTED_PROXIES"]) == f"{address}/32"
    assert ip_address(address) in ip_network(defaults(network["subnet"]))
    # Nobody else is given it.
    assert ip_address(address) not in ip_network(defaults(network["ip_range"]))


def test_a_container_is_given_longer_to_end_than_its_drain_takes() -> None:
    assert {SERVICES[name]["stop_grace_period"] for name in OURS} == {"30s"}
    assert SERVICES["agent"]["stop_grace_period"] == "45s"


def test_the_local_engines_only_replace_engines() -> None:
    local = yaml.safe_load((ROOT / "deploy/docker/compose.local.yml").read_text())["services"]
    assert local.keys() == {"postgres", "redis", "gateway"}
    assert {told["build"]["dockerfile"] for told in local.values()} == {"deploy/docker/local-engines.Dockerfile"}
