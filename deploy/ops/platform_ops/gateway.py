"""Renders the gateway's one configuration file for an environment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Final

SERVICES: Final = ("dispatcher", "agent_health", "registration", "job_intake")
_PREFIX: Final = "GATEWAY_"
# What one replica of job-intake works on at a time; more do not make it quicker, and make everything else slower.
_INTAKE_AT_ONCE: Final = 48


class BadEnvironment(Exception):
    """Names the variable that is missing or wrong."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """``host:port``. Raises ValueError."""
        host, _, port = text.strip().rpartition(":")
        if not host:
            raise ValueError(f"{text!r} is not host:port")
        return cls(host, int(port))

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
    intake_at_once: int | None = None,
) -> str:
    """The configuration with every service's endpoints. ``trusted_hops``: load balancers in front of the gateway.

    ``intake_at_once``: how many requests job-intake works on, all replicas together; None: by its endpoints.
    Raises KeyError when a service is missing.
    """
    values = {name.upper(): ", ".join(map(str, services[name])) for name in SERVICES}
    return Template(template.read_text(encoding="utf-8")).substitute(
        values,
        LISTEN_HOST=listen.host,
        LISTEN_PORT=listen.port,
        ADMIN_PORT=admin_port,
        TRUSTED_HOPS=trusted_hops,
        INTAKE_AT_ONCE=intake_at_once or _INTAKE_AT_ONCE * len(services["job_intake"]),
    )


def render_for(template: Path, environ: Mapping[str, str]) -> str:
    """The configuration from ``GATEWAY_*``: each service as ``host:port``, comma-separated. Raises BadEnvironment."""
    try:
        return render(
            template,
            {name: [Endpoint.parse(part) for part in environ[_PREFIX + name.upper()].split(",")] for name in SERVICES},
            listen=Endpoint.parse(environ.get(f"{_PREFIX}LISTEN", "0.0.0.0:8080")),
            admin_port=int(environ.get(f"{_PREFIX}ADMIN_PORT", "9901")),
            trusted_hops=int(environ.get(f"{_PREFIX}TRUSTED_HOPS", "0")),
            intake_at_once=int(environ.get(f"{_PREFIX}INTAKE_AT_ONCE", "0")) or None,
        )
    except KeyError as error:
        raise BadEnvironment(f"{error.args[0]} is missing") from error
    except ValueError as error:
        raise BadEnvironment(f"{_PREFIX}*: {error}") from error
