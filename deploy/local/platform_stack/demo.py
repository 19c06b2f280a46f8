"""The main job from nothing: agents register, two tenants have a project scanned, the findings come back."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from platform_stack import tokens
from platform_stack.processes import free_port
from platform_stack.stack import Plan, Stack

_SCAN_SECONDS = 120
_SEVERITY = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan", "info": "dim"}

# What each scanner must find in the sample project for the demo to have worked: rule and file.
EXPECTED: Mapping[str, frozenset[tuple[str, str]]] = {
    "bandit": frozenset({("B301", "shop/orders.py"), ("B602", "shop/admin.py"), ("B324", "shop/admin.py")}),
    "semgrep": frozenset({("python-eval", "shop/orders.py"), ("python-shell-command", "shop/admin.py")}),
}


@dataclass(frozen=True, slots=True)
class Order:
    """One tenant, and the scan that it wants."""

    tenant: str
    plan: str
    tool: str


ORDERS = (Order("Acme", "free", "bandit"), Order("Globex", "pro", "semgrep"))


class DemoError(Exception):
    """The demo did not show what it is there to show."""


def run(scanners: Path) -> int:
    """0 when the expected findings came back, 1 otherwise. Leaves nothing running."""
    console = Console(highlight=False)
    console.print("[bold]Platform Agents[/bold]: shared scanner agents, from nothing to findings\n")
    with tempfile.TemporaryDirectory(prefix="platform-demo-", ignore_cleanup_errors=True) as folder:
        stack = Stack(Plan(folder=Path(folder), port=free_port(), scanners=scanners))
        try:
            with console.status("starting Postgres, Redis, five services, the gateway and two agents"):
                stack.start()
            _show(stack, console)
            findings = _scan(stack, console)
            _print_findings(findings, console)
            _check(findings)
        except DemoError as error:
            console.print(f"[red]{error}[/red]")
            return 1
        finally:
            with console.status("stopping everything"):
                stack.stop()
    console.print("\n[green]Both tenants got what they asked for.[/green] Next: make up, and the README's first job.")
    return 0


def _show(stack: Stack, console: Console) -> None:
    console.print(f"[green]✓[/green] everything is ready behind {stack.gateway}")
    for _ in range(100):
        agents = _get(stack, "/admin/platform-agents", tokens.admin_token(stack.secrets))["agents"]
        if len(agents) == len(stack.agents):
            break
        time.sleep(0.2)
    for agent in sorted(agents, key=lambda agent: str(agent["name"])):
        console.print(f"[green]✓[/green] {agent['name']} registered itself; it runs {', '.join(agent['tools'])}")


def _scan(stack: Stack, console: Console) -> dict[Order, list[dict[str, Any]]]:
    """Submit every order, watch all of them, return their findings."""
    jobs: dict[Order, tuple[str, str]] = {}
    for order in ORDERS:
        tenant = tokens.make_tenant(
            stack.gateway, stack.secrets, name=order.tenant, plan=order.plan, workspace=stack.workspace
        )
        token = tokens.tenant_token(stack.secrets, tenant)
        body = {
            "type": "scan",
            "priority": "high",
            "payload": {"tool": order.tool, "target": "sample"},
            "capabilities": [order.tool],
        }
        answer = httpx.post(f"{stack.gateway}/api/v1/platform-jobs", headers=_bearer(token), json=body)
        answer.raise_for_status()
        jobs[order] = (answer.json()["job"]["id"], token)
    console.print(f"[green]✓[/green] {len(jobs)} tenants asked for a scan of their project\n")
    return _watch(stack, jobs, console)


def _watch(stack: Stack, jobs: Mapping[Order, tuple[str, str]], console: Console) -> dict[Order, list[dict[str, Any]]]:
    done: dict[Order, list[dict[str, Any]]] = {}
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bars: dict[Order, TaskID] = {
            order: progress.add_task(f"{order.tenant} ({order.plan}): {order.tool}", total=100, said="queued")
            for order in jobs
        }
        deadline = time.monotonic() + _SCAN_SECONDS
        while len(done) < len(jobs):
            if time.monotonic() > deadline:
                raise DemoError("The scans took too long.")
            for order in jobs.keys() - done.keys():
                number, token = jobs[order]
                job = _get(stack, f"/platform-jobs/{number}", token)["job"]
                latest = job["message"] or job["status"]
                progress.update(bars[order], completed=job["progress"] or 0, said=latest[:40])
                if job["status"] in {"failed", "cancelled", "expired"}:
                    raise DemoError(f"{order.tool}: {job['status']}: {job['error']}")
                if job["status"] == "completed":
                    progress.update(bars[order], completed=100, said=job["result"]["summary"][:40])
                    done[order] = job["result"]["findings"]
            time.sleep(0.2)
    return done


def _print_findings(findings: Mapping[Order, list[dict[str, Any]]], console: Console) -> None:
    table = Table(title="\nFindings", title_justify="left")
    for heading in ("tenant", "tool", "severity", "rule", "where", "what"):
        table.add_column(heading, overflow="fold")
    for order in ORDERS:
        for finding in findings[order]:
            severity = str(finding["severity"])
            table.add_row(
                order.tenant,
                finding["tool"],
                f"[{_SEVERITY.get(severity, 'white')}]{severity}[/]",
                finding["rule_id"].rsplit(".", 1)[-1],
                f"{finding['path']}:{finding['line']}",
                finding["message"].splitlines()[0],
            )
    console.print(table)


def _check(findings: Mapping[Order, list[dict[str, Any]]]) -> None:
    for order, found in findings.items():
        seen = {(str(f["rule_id"]).rsplit(".", 1)[-1], str(f["path"])) for f in found}
        missing = EXPECTED[order.tool] - seen
        if missing:
            raise DemoError(f"{order.tool} did not report {', '.join(sorted(f'{r} in {p}' for r, p in missing))}")


def _get(stack: Stack, path: str, token: str) -> dict[str, Any]:
    answer = httpx.get(f"{stack.gateway}/api/v1{path}", headers=_bearer(token))
    answer.raise_for_status()
    body: dict[str, Any] = answer.json()
    return body


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
