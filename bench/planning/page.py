"""What is seen of the plans, as docs/plans.md tells it; and what no statement may do."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from planning.drive import BY_DESIGN
from planning.watch import Seen

Times = Mapping[str, Sequence[Seen]]


def by_statement(seen: Iterable[Seen]) -> Times:
    in_order = sorted(seen, key=lambda one: one.statement)
    return {name: list(runs) for name, runs in groupby(in_order, key=lambda one: one.statement)}


def offences(seen: Iterable[Seen], large: Iterable[str]) -> list[str]:
    """Statements that read a large table whole, and are not meant to."""
    found = {
        f"{one.statement} reads all of {table}"
        for one in seen
        for table in one.whole & frozenset(large) - BY_DESIGN.get(one.statement, frozenset())
    }
    return sorted(found)


def page(sizes: Mapping[str, Times]) -> str:
    """A table, a row a statement: the median at each size, and how it reads at the last."""
    *_, last = sizes.values()
    names = sorted(set().union(*sizes.values()))
    rows = [_row(name, [times.get(name, ()) for times in sizes.values()], last.get(name, ())) for name in names]
    columns = [*sizes, "rows", "buffers", "reads, by"]
    head = [f"| statement | {' | '.join(columns)} |", f"| --- |{' --: |' * (len(columns) - 1)} --- |"]
    return "\n".join([*head, *rows])


def _row(name: str, sizes: Sequence[Sequence[Seen]], last: Sequence[Seen]) -> str:
    return f"| `{name}` | {' | '.join(map(_median, sizes))} | {_facts(last)} |"


def _median(runs: Sequence[Seen]) -> str:
    return f"{statistics.median(one.milliseconds for one in runs):.2f}" if runs else ""


def _facts(runs: Sequence[Seen]) -> str:
    if not runs:
        return " | | "
    most = max(runs, key=lambda one: one.buffers)
    scans = ", ".join(scan for scan in most.scans if not scan.startswith(("insert", "update", "delete")))
    return f"{most.rows:,} | {most.buffers:,} | {scans or _inside(most)}"


def _inside(one: Seen) -> str:
    """Of a function, only what it reads whole can be told."""
    return f"inside: all of {', '.join(sorted(one.whole))}" if one.whole else ""
