"""JSON lines on stdout. No key, token or payload is ever among the fields."""

import sys
from datetime import UTC, datetime

import msgspec


def info(event: str, **fields: object) -> None:
    _write("info", event, fields)


def warning(event: str, **fields: object) -> None:
    _write("warning", event, fields)


def _write(level: str, event: str, fields: dict[str, object]) -> None:
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    line = {"ts": now, "level": level, "service": "exploop-agent", "event": event, **fields}
    sys.stdout.write(msgspec.json.encode(line, enc_hook=str).decode() + "\n")
    sys.stdout.flush()
