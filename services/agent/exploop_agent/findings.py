"""What scanners find, in one shape."""

from typing import Annotated, Final

from msgspec import Meta, Struct

SEVERITIES: Final = ("critical", "high", "medium", "low", "info")
_MAX_TEXT: Final = 1_000

Line = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class Finding(Struct, frozen=True, kw_only=True):
    """``severity``: one of `SEVERITIES`. ``path`` is relative to the target."""

    tool: str
    rule_id: str
    severity: str
    message: str
    path: str | None = None
    line: Line | None = None


class ReportUnreadable(Exception):
    """The report is missing, too large or not what the scanner promised."""


def short(text: str) -> str:
    """Bounded, and without NUL, which a database's JSON cannot hold."""
    text = text.replace("\x00", "\ufffd")
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
