"""Hours of load under the rule, in seconds on a virtual clock: shares, waits and Jain's index (docs/scheduling.md)."""

import time
from collections.abc import Collection

from rich.console import Console
from rich.table import Table
from simulation.alternatives import published_order
from simulation.cell import Cell, Rule
from simulation.outcome import Outcome, jain, percentile
from simulation.scenarios import CASES, Case

from platform_core.domain.rule import hand_out

TITLE = "Share: slot-seconds over what the weight is due. Wait: p50 and p99 of tenants whose queues run dry."


def main() -> None:
    table = Table("load", "hours", "jobs", "Jain", "tenants", "slot-hours", "share", "wait", "took", title=TITLE)
    for column in table.columns[1:4] + table.columns[5:]:
        column.justify = "right"
    for name, case in CASES.items():
        _run(table, name, case(), hand_out)
    _run(table, "flood, published priority alone", CASES["flood"](), published_order)
    Console(width=120).print(table)


def _run(table: Table, name: str, case: Case, rule: Rule) -> None:
    began = time.perf_counter()
    outcome = Cell(case.scenario, rule=rule).run(until=case.hours * 3600)
    took = f"{time.perf_counter() - began:.1f} s"
    shares = outcome.shares(case.rivals)
    facts = [name, f"{case.hours:g}", f"{len(outcome.runs):,}", f"{jain(shares.values()):.4f}" if shares else ""]
    for group, tenants in case.groups.items():
        hours = sum(outcome.slot_seconds(t) for t in tenants) / 3600
        share = f"{sum(shares[t] for t in tenants) / len(tenants):.3f}" if shares.keys() >= {*tenants} else ""
        table.add_row(*facts, group, f"{hours:.1f}", share, _wait(case, outcome, tenants), took)
        facts, took = [""] * len(facts), ""
    table.add_section()


def _wait(case: Case, outcome: Outcome, tenants: Collection[int]) -> str:
    if any(stream.gap is None for stream in case.scenario.streams if stream.tenant in tenants):
        return ""
    if {run.tenant for run in outcome.runs}.isdisjoint(tenants):
        return "never served"
    waits = outcome.waits(tenants)
    return f"{percentile(waits, 0.5):,.0f} s, {percentile(waits, 0.99):,.0f} s"


if __name__ == "__main__":
    main()
