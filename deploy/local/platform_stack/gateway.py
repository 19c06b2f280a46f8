"""Renders the gateway's one configuration file for an environment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

SERVICES = ("dispatcher", "agent_health", "registration", "job_intake")


@dataclass(frozen=True, slots=True)
class Endpoint:
    host: str
    port: int

    def __str__(self) -> str:
        address = f"{{address: {self.host}, port_value: {self.port}}}"
        return f"{{endpoint: {{address: {{socket_address: {address}}}}}}}"


def render(
    template: Path,
    services: Mapping[str, Sequence[Endpoint]],
    *,
    listen: Endpoint,
    admin_port: int,
    trusted_hops: int = 0,
) -> str:
    """The configuration with every service's endpoints. ``trusted_hops``: load balancers in front of the gateway.

    Raises KeyError when a service is missing.
    """
    values = {name.upper(): ", ".join(map(str, services[name])) for name in SERVICES}
    return Template(template.read_text(encoding="utf-8")).substitute(
        values,
        LISTEN_HOST=listen.host,
        LISTEN_PORT=listen.port,
        ADMIN_PORT=admin_port,
        TRUSTED_HOPS=trusted_hops,
    )
