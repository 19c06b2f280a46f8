"""How a target may be spelled (specification, "Path Traversal Prevention"). Nothing is resolved here.

A text is judged in every reading that some program down the line could give it: as it stands, percent-decoded again and
again, and with the Unicode look-alikes of its characters folded.
"""

import re
from collections.abc import Iterator
from typing import Final
from unicodedata import normalize

MAX_LENGTH: Final = 2048
_MAX_READINGS: Final = 8

_ESCAPES = re.compile(r"(?:%[0-9a-f]{2})+", re.IGNORECASE | re.ASCII)
_SLASH_LOOKALIKES: Final = str.maketrans({"\u2044": "/", "\u2215": "/", "\u29f8": "/", "\u2216": "\\", "\u29f9": "\\"})

_WEB = re.compile(r"https?://[^/]", re.IGNORECASE | re.ASCII)
_REFUSED: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), message)
    for pattern, message in (
        (r"%u[0-9a-f]", "Is encoded in a way that cannot be read safely."),
        (r"\A\s*-", "Must not begin with a dash."),
        (r"\A\s*(?:[/\\~]|[a-z]:)", "Must not be an absolute path."),
        (r"\A(?!https?://[^/])[a-z][a-z0-9+.-]*:/", "Only http and https addresses are allowed."),
        (r"\.\.[/\\]|(?:\A|[/\\?#])\.\.(?:[?#]|\Z)", "Must not contain ../ in any spelling."),
    )
)
_SHELL: Final = frozenset("`$;|<>\"'{}()*!^\\")


def check_target(text: str) -> str | None:
    """Why the spelling is refused, in words; None when it is not."""
    if not text or text != text.strip():
        return "Must not be empty, nor begin or end with a space."
    if len(text) > MAX_LENGTH:
        return f"Must have at most {MAX_LENGTH} characters."
    try:
        for reading in _readings(text):
            if (refusal := _refusal(reading)) is not None:
                return refusal
    except ValueError:
        return "Is encoded in a way that cannot be read safely."
    # Only as typed: nobody runs a shell on what a percent sign hides, and addresses may hide these rightly.
    if not _SHELL.isdisjoint(text) or ("&" in text and not _WEB.match(text)):
        return "Must not contain characters that mean something to a shell."
    return None


def _readings(text: str) -> Iterator[str]:
    """The text as it stands, then ever more decoded. Raises ValueError for bytes that are not UTF-8."""
    for _ in range(_MAX_READINGS):
        yield text
        decoded = _ESCAPES.sub(_decoded, normalize("NFKC", text).translate(_SLASH_LOOKALIKES))
        if decoded == text:
            return
        text = decoded
    raise ValueError("too many layers of encoding")


def _decoded(escapes: re.Match[str]) -> str:
    return bytes.fromhex(escapes[0].replace("%", "")).decode()


def _refusal(text: str) -> str | None:
    if not text.isprintable():
        return "Must not contain control or invisible characters."
    return next((message for pattern, message in _REFUSED if pattern.search(text)), None)
