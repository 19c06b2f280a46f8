"""What a scenario works on: a stack of its own run, its door, the peers, and the figures so far."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import uuid4

import psutil
from door import Door
from peers import Peers

from platform_stack.processes import Process
from platform_stack.stack import Stack

T = TypeVar("T")


@dataclass
class Site:
    """``short``: all for seconds, to see that it works. ``figures``: name to number, fractions for percentages."""

    stack: Stack
    door: Door
    peers: Peers
    short: bool
    figures: dict[str, float] = field(default_factory=dict)

    def note(self, figures: Mapping[str, float]) -> None:
        """Each scenario tells as it goes: a run that is broken off has told something."""
        for name, value in figures.items():
            print(f"  {name} {value:.4g}", flush=True)
        self.figures.update(figures)

    def length(self, full: T, short: T) -> T:
        return short if self.short else full

    def ratio(self, name: str, over: str, under: str) -> None:
        """Note the ratio of two figures, if both are there."""
        if over in self.figures and self.figures.get(under):
            self.note({name: self.figures[over] / self.figures[under]})


def lane() -> str:
    """A capability that nobody else in the run has."""
    return f"only-{uuid4().hex[:12]}"


class Cores:
    """What share of a core each process of the stack took since this was made, its children with it."""

    def __init__(self, stack: Stack) -> None:
        self._processes = _processes(stack)
        self._since = time.perf_counter()
        self._used = {name: _cpu_seconds(process) for name, process in self._processes.items()}

    def __call__(self) -> dict[str, float]:
        took = time.perf_counter() - self._since
        return {
            name: (_cpu_seconds(process) - self._used[name]) / took
            for name, process in self._processes.items()
            if process.running
        }

    def told(self) -> str:
        """Who took more than a hundredth, the greatest first."""
        shares = sorted(self().items(), key=lambda one: -one[1])
        return ", ".join(f"{name} {share:.2f}" for name, share in shares if share > 0.01)


def _processes(stack: Stack) -> dict[str, Process]:
    engines = {"postgres": stack.postgres.process, "redis": stack.redis.process}
    engines["gateway"] = stack.envoy.process if stack.envoy else None
    services = {name: replicas[0].process for name, replicas in stack.services.items()}
    return {name: process for name, process in engines.items() if process is not None} | services


def _cpu_seconds(process: Process) -> float:
    """Children that have ended are counted by their parent when it has waited for them."""
    parent = psutil.Process(process.pid)
    own = parent.cpu_times()
    children = [child.cpu_times() for child in parent.children(recursive=True)]
    ended = own.children_user + own.children_system
    return own.user + own.system + ended + sum(child.user + child.system for child in children)
