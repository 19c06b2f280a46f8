"""Renders the gateway's one configuration file for an environment."""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from platform_stack.engines import validate_envoy

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


def main() -> None:
    """Render the given file with made-up addresses and let Envoy validate it; exits with Envoy's code."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "envoy.yaml"
        somewhere = {name: [Endpoint("127.0.0.1", 8000)] for name in SERVICES}
        config.write_text(render(Path(sys.argv[1]), somewhere, listen=Endpoint("127.0.0.1", 8080), admin_port=9901))
        told = validate_envoy(config)
    print("gateway: valid" if told.returncode == 0 else told.stderr)
    sys.exit(told.returncode)


if __name__ == "__main__":
    main()
