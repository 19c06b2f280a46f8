"""Lets Envoy validate the gateway's configuration file."""

import sys
import tempfile
from pathlib import Path

from platform_ops.gateway import SERVICES, Endpoint, render
from platform_stack.engines import validate_envoy


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
