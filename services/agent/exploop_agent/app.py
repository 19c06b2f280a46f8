"""exploop-agent: the command."""

import argparse
import asyncio
import itertools
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from exploop_agent import install, log, scanners, settings
from exploop_agent.agent import Agent, KeyRefused
from exploop_agent.api import Api, Refused, pause
from exploop_agent.enrolment import KeyFile, NoIdentity, identify
from exploop_agent.job import Workshop
from exploop_agent.network import checked_addresses
from exploop_agent.outbox import Outbox
from exploop_agent.scan import Bench
from exploop_agent.settings import Settings, SettingsError
from exploop_agent.stopping import Stopped, Stopping
from exploop_agent.table import TABLE


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def run(argv: Sequence[str]) -> int:
    """0: ended as asked; 1: the platform will not have this agent; 2: wrong use."""
    if argv[:1] == ["install-scanners"]:
        return _install(argv[1:])
    arguments = settings.parser().parse_args(argv)
    if not arguments.platform:
        settings.parser().print_help()
        return 2
    try:
        told = settings.from_command_line(argv)
        return asyncio.run(_serve(told))
    except SettingsError as error:
        print(f"exploop-agent: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except (NoIdentity, Refused) as error:
        print(f"exploop-agent: {error}", file=sys.stderr)  # noqa: T201
        return 1


async def _serve(told: Settings) -> int:
    """Until SIGTERM."""
    stopping = Stopping()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.tell)
    told.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    api = Api(told.api_url)
    bench = Bench(
        tools=scanners.installed(TABLE, told.scanners),
        workspace=told.workspace,
        cache=told.state / "cache",
        judge=partial(checked_addresses, private_allowed=told.allow_private_targets),
        max_memory_bytes=told.max_memory_bytes,
    )
    try:
        await register_and_work(Workshop(api, told, bench, Outbox(api, told.state / "outbox")), stopping)
    except Stopped:
        pass
    finally:
        await api.aclose()
    return 0


async def register_and_work(workshop: Workshop, stopping: Stopping) -> None:
    """Register and work, for ever: a key that is refused is forgotten, and a bootstrap token gives a new one.

    Raises Stopped, NoIdentity or Refused.
    """
    tools = tuple(sorted(workshop.bench.tools))
    capabilities = workshop.settings.capabilities or tools
    for refusals in itertools.count():
        identifying = identify(workshop.api, workshop.settings, capabilities=capabilities, tools=tools)
        await stopping.interrupts(identifying)
        try:
            await Agent(workshop, stopping).run()
        except KeyRefused:
            log.warning("key_refused")
            KeyFile(workshop.settings.state).forget()
            await stopping.rest(pause(refusals))
        else:
            return


def _install(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="exploop-agent install-scanners")
    parser.add_argument("--dir", type=Path, required=True, help="where their environments go")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(install.ENVIRONMENTS)}; all by default")
    arguments = parser.parse_args(argv)
    try:
        install.install(arguments.names, arguments.dir)
    except (install.UnknownScanner, subprocess.CalledProcessError) as error:
        print(f"exploop-agent: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0
