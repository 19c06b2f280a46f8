"""The benchmark: starts a stack of its own, measures, prints a table with ratios, and writes the figures as JSON."""

import argparse
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import peers
import report
import uvloop
from claim_cost import claim_cost
from delivery import delivery
from door import Door
from held_polls import held_polls
from idle_agent import idle_agent
from lifecycles import lifecycles
from sitting import Site

from platform_stack.processes import free_port
from platform_stack.stack import Plan, Stack

Scenario = Callable[[Site], Awaitable[None]]

SCENARIOS: Final[Mapping[str, Scenario]] = {
    "delivery": delivery,
    "lifecycles": lifecycles,
    "claim_cost": claim_cost,
    "held_polls": held_polls,
    "idle_agent": idle_agent,
}
RESULTS = Path(__file__).parent / "results"


async def measure(stack: Stack, names: list[str], *, short: bool) -> dict[str, float]:
    site = Site(stack, Door(stack), peers.Peers(stack.postgres), short)
    for name in names:
        started = time.perf_counter()
        print(f"{name}:", flush=True)
        await SCENARIOS[name](site)
        site.note({f"{name}_took_seconds": time.perf_counter() - started})
    return site.figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="each scenario for seconds: it works, it says nothing")
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), help="may be given more than once")
    asked = parser.parse_args()
    peers.install()
    with tempfile.TemporaryDirectory(prefix="platform-bench-", ignore_cleanup_errors=True) as folder:
        stack = Stack(Plan(folder=Path(folder), port=free_port(), scanners=Path(folder) / "scanners", agents=0))
        stack.start()
        try:
            figures = uvloop.run(measure(stack, asked.only or list(SCENARIOS), short=asked.short))
        finally:
            stack.stop()
    report.show(figures)
    if not asked.only:
        report.write(RESULTS / ("short.json" if asked.short else "latest.json"), figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
