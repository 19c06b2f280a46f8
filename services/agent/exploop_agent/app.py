"""exploop-agent: the command."""

import argparse
import asyncio
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from exploop_agent import install, log, scanners, settings
from exploop_agent.agent import Agent, KeyRefused, forget_key
from exploop_agent.api import Api, Refused
from exploop_agent.enrolment import NoIdentity, identify
from exploop_agent.job import Workshop
from exploop_agent.outbox import Outbox
from exploop_agent.settings import Settings, SettingsError


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
    """Until SIGTERM. A key that is refused is forgotten; with a bootstrap token we register anew."""
    tools = scanners.installed(told.scanners)
    capabilities = told.capabilities or tuple(sorted(tools))
    told.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    api = Api(told.api_url)
    workshop = Workshop(api, told, tools, Outbox(api, told.state / "outbox"))
    try:
        while True:
            await identify(api, told, capabilities=capabilities, tools=tuple(sorted(tools)))
            agent = Agent(workshop)
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, agent.stop)
            try:
                await agent.run()
            except KeyRefused:
                log.warning("key_refused")
                await forget_key(workshop)
            else:
                return 0
    finally:
        await api.aclose()


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
