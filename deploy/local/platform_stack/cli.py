"""platform-stack: up, down, status, logs, token, migrate, demo. ``STACK_PORT`` and ``STACK_DIR`` tell which stack."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from platform_ops import migrate
from platform_stack import demo, running, tokens
from platform_stack.processes import StartError
from platform_stack.running import Known
from platform_stack.stack import BIN, Plan, Stack

_LOCAL = Path(".local")


class UsageError(Exception):
    """Something the caller can mend; the text says how."""


def plan_of(environ: "os._Environ[str]") -> Plan:
    """Raises UsageError."""
    folder = Path(environ.get("STACK_DIR", _LOCAL / "stack")).resolve()
    scanners = Path(environ.get("SCANNERS_DIR", _LOCAL / "scanners")).resolve()
    port = environ.get("STACK_PORT", "8080")
    if not port.isascii() or not port.isdecimal() or not 1 <= int(port) <= 65_535:
        raise UsageError(f"STACK_PORT is a number from 1 to 65535, not {port!r}")
    return Plan(folder=folder, port=int(port), scanners=scanners)


def main() -> None:
    arguments = _parser().parse_args()
    try:
        code: int = arguments.run(arguments, plan_of(os.environ))
    except (UsageError, StartError, httpx.HTTPError) as error:
        print(f"platform-stack: {error}", file=sys.stderr)
        code = 1
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="platform-stack", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for name, run, text in (
        ("up", up, "start everything in the background and wait until it is ready"),
        ("down", down, "stop everything"),
        ("status", status, "what runs, and is it ready"),
        ("run", run_in_foreground, "start everything and stay until SIGTERM"),
        ("demo", run_demo, "from nothing: two agents, two tenants, real scans, their findings"),
    ):
        commands.add_parser(name, help=text).set_defaults(run=run)
    logs = commands.add_parser("logs", help="the latest lines of every log, or of one")
    logs.add_argument("name", nargs="?", default="", help="what the log's name begins with")
    logs.add_argument("--lines", type=int, default=20)
    logs.set_defaults(run=show_logs)
    token = commands.add_parser("token", help="print a JWT of 24 hours, and nothing else")
    whose = token.add_mutually_exclusive_group(required=True)
    whose.add_argument("--admin", action="store_true")
    whose.add_argument("--tenant", metavar="NAME", help="create or update this tenant")
    token.add_argument("--plan", default="free", choices=["free", "starter", "pro", "enterprise"])
    token.set_defaults(run=print_token)
    migration = commands.add_parser("migrate", help="the schema of PLATFORM_DATABASE_URL, or of the running stack")
    migration.add_argument("direction", choices=["up", "down", "status"])
    migration.set_defaults(run=run_migrations)
    return parser


def up(_: argparse.Namespace, plan: Plan) -> int:
    if (known := running.find(plan.folder)) is not None:
        print(f"already up: {known.gateway}")
        return 0
    plan.folder.mkdir(parents=True, exist_ok=True)
    log = plan.folder / "stack.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [BIN / "platform-stack", "run"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while (known := running.find(plan.folder)) is None:
        if process.poll() is not None:
            raise StartError(log.read_text(errors="replace").removeprefix("platform-stack: ").rstrip())
        time.sleep(0.1)
    print(f"The gateway listens at {known.gateway}")
    return 0


def run_in_foreground(_: argparse.Namespace, plan: Plan) -> int:
    """Ends by SIGTERM or Ctrl-C. A process that ends by itself is told of, once; it is not started again."""
    stack = Stack(plan)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    gone: set[str] = set()
    try:
        stack.start()
        while True:
            for process in stack.ended():
                if process.name not in gone:
                    print(f"{process.name} ended:\n{process.log_tail()}", flush=True)
                    gone.add(process.name)
            time.sleep(1)
    except KeyboardInterrupt:
        return 0
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stack.stop()


def down(_: argparse.Namespace, plan: Plan) -> int:
    known = running.find(plan.folder)
    if known is None:
        print("nothing is up")
        return 0
    os.kill(known.pid, signal.SIGTERM)
    while running.is_claimed(plan.folder):
        time.sleep(0.1)
    print("stopped")
    return 0


def status(_: argparse.Namespace, plan: Plan) -> int:
    known = running.find(plan.folder)
    if known is None:
        print("nothing is up")
        return 1
    print(f"gateway  {known.gateway}")
    for name, pid in sorted(known.processes.items()):
        print(f"{name:<22} pid {pid:<8} {_state(known, name, pid)}")
    return 0


def show_logs(arguments: argparse.Namespace, plan: Plan) -> int:
    for file in sorted((plan.folder / "logs").glob(f"{arguments.name}*.log")):
        print(f"==> {file.name}")
        print("\n".join(file.read_text(errors="replace").splitlines()[-arguments.lines :]))
    return 0


def print_token(arguments: argparse.Namespace, plan: Plan) -> int:
    known = running.find(plan.folder)
    if known is None:
        raise UsageError("no stack is up here; start one with 'make up'")
    secrets = tokens.Secrets.of(plan.folder)
    if arguments.admin:
        print(tokens.admin_token(secrets))
        return 0
    tenant = tokens.make_tenant(
        known.gateway, secrets, name=arguments.tenant, plan=arguments.plan, workspace=Path(known.workspace)
    )
    print(tokens.tenant_token(secrets, tenant))
    return 0


def run_migrations(arguments: argparse.Namespace, plan: Plan) -> int:
    known = running.find(plan.folder)
    dsn = os.environ.get("PLATFORM_DATABASE_URL") or (known.database if known else None)
    if dsn is None:
        raise UsageError("set PLATFORM_DATABASE_URL, or start a stack with 'make up'")
    print(migrate.carry_out(arguments.direction, dsn))
    return 0


def run_demo(_: argparse.Namespace, plan: Plan) -> int:
    return demo.run(plan.scanners)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _state(known: Known, name: str, pid: int) -> str:
    if not _alive(pid):
        return "gone"
    if name not in known.internal:
        return "running"
    try:
        return "ready" if httpx.get(f"http://127.0.0.1:{known.internal[name]}/readyz").is_success else "not ready"
    except httpx.HTTPError:
        return "does not answer"
