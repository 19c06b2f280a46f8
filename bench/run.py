"""The benchmark: starts a stack of its own, measures, prints a table with ratios, and writes the figures as JSON."""

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import peers
import report
import uvloop
from claim_cost import claim_cost
from delivery import delivery
from door import Door
from fairness import fairness
from held_polls import held_polls
from held_snapshot import held_snapshot
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
    "fairness": fairness,
    "held_polls": held_polls,
    "idle_agent": idle_agent,
    "held_snapshot": held_snapshot,
}
# One address is the whole internet here: it is known to have many agents behind it.
SETTINGS: Final = {"AUTH_ALLOW_LISTED": "0.0.0.0/0"}
RESULTS = Path(__file__).parent / "results"


async def measure(stack: Stack, names: list[str], *, short: bool) -> tuple[dict[str, float], list[str]]:
    """The figures, and the scenarios that broke: the others have their say."""
    site = Site(stack, Door(stack), peers.Peers(stack.postgres), short)
    broken: list[str] = []
    for name in names:
        started = time.perf_counter()
        print(f"{name}:", flush=True)
        try:
            await SCENARIOS[name](site)
        except Exception:
            traceback.print_exc()
            broken.append(name)
        site.note({f"{name}_took_seconds": time.perf_counter() - started})
    return site.figures, broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="each scenario for seconds: it works, it says nothing")
    parser.add_argument("--only", action="append", choices=list(SCENARIOS), help="may be given more than once")
    asked = parser.parse_args()
    peers.install()
    with tempfile.TemporaryDirectory(prefix="platform-bench-", ignore_cleanup_errors=True) as folder:
        plan = Plan(
            folder=Path(folder), port=free_port(), scanners=Path(folder) / "scanners", agents=0, settings=SETTINGS
        )
        stack = Stack(plan)
        stack.start()
        try:
            figures, broken = uvloop.run(measure(stack, asked.only or list(SCENARIOS), short=asked.short))
        finally:
            stack.stop()
    report.show(figures, short=asked.short)
    if not asked.only:
        report.write(RESULTS / ("short.json" if asked.short else "latest.json"), figures)
    for name in broken:
        print(f"{name} broke", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
