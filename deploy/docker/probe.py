"""The image's healthcheck: exits 0 when this container's service is ready. The standard library only: it is quick."""

import http.client
import os
import sys


def main() -> int:
    port = int(os.environ.get("PLATFORM_INTERNAL_PORT", "9000"))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return 0 if connection.getresponse().status == 200 else 1
    except OSError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
