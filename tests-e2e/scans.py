"""Scans for real agents: projects to be scanned, and a look at the scanners that run."""

import shutil
from contextlib import suppress
from pathlib import Path

import psutil
from driving import Tenant

from platform_stack.stack import Stack
from platform_stack.tokens import SAMPLE

# Each line is something that bandit looks at.
_LINE = "value_{n} = compute({n}, [item * {n} for item in range({n}) if item % 7], key='{n}')\n"


def lay_sample(stack: Stack, tenant: Tenant) -> None:
    """The small vulnerable project, as ``sample`` in the tenant's workspace."""
    shutil.copytree(SAMPLE, stack.workspace / str(tenant.id) / "sample")


def lay_large_project(stack: Stack, tenant: Tenant, *, files: int) -> None:
    """As ``large`` in the tenant's workspace; bandit takes some tenths of a second for each file."""
    folder = stack.workspace / str(tenant.id) / "large"
    folder.mkdir(parents=True)
    text = "".join(_LINE.format(n=n) for n in range(1000))
    for number in range(files):
        Path(folder, f"module_{number}.py").write_text(text)


async def submit_scan(tenant: Tenant, capability: str, *, target: str) -> str:
    """A bandit scan; its number."""
    payload = {"tool": "bandit", "target": target}
    submitted = await tenant.submitted(type="scan", payload=payload, capabilities=[capability])
    number: str = submitted["job"]["id"]
    return number


def scanners_of(agent: int) -> list[psutil.Process]:
    """The scanner processes that the agent with this process id runs."""
    return [child for child in psutil.Process(agent).children(recursive=True) if _is_bandit(child)]


def _is_bandit(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return any(word.endswith("bandit") for word in process.cmdline())
    return False
