"""Reads a .sql file of named statements."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def load(table: str) -> Mapping[str, str]:
    """The statements of ``<table>.sql``, by name. A statement begins at ``-- name: x`` and ends at the next.

    Raises ValueError when a name stands twice.
    """
    text = files(__package__).joinpath(f"{table}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise ValueError(f"{table}.sql names a statement twice")
    return dict(zip(names, (body.strip().rstrip(";") for body in bodies), strict=True))
