"""Runs a service: the public app and the internal one on one event loop, until SIGTERM."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

import uvicorn
import uvloop
from starlette.types import ASGIApp

from platform_server.kit import logs, settings
from platform_server.kit.health import Health, internal_app

log = logs.logger(__name__)

Settings = TypeVar("Settings", bound=settings.ServiceSettings)

# Longer than the gateway keeps an idle connection to us, or its reuse races with our closing.
_KEEP_ALIVE_SECONDS = 120
_GRACE_SECONDS = 20
# Young objects between two looks at them. A look stops everything, and a request leaves few cycles behind.
_YOUNG = 20_000


@dataclass(slots=True)
class Runtime:
    """What the outside of an app tells it: its health to fill in, and the event that a drain sets."""

    health: Health = field(default_factory=Health)
    draining: asyncio.Event = field(default_factory=asyncio.Event)


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: two servers share this process, and a drain comes first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main(name: str, kind: type[Settings], create: Callable[[Settings, Runtime], ASGIApp]) -> None:
    """The entry point of a service: settings from the environment, logs, both servers; exits 2 on bad settings."""
    try:
        read = settings.read(kind, os.environ)
    except settings.SettingsError as error:
        print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 - there is no log to write to yet
        sys.exit(2)
    logs.configure(service=name, level=read.log_level)
    spare_collections()
    uvloop.run(_serve(read, create))


def spare_collections() -> None:
    """Look for garbage less often, and never among what the imports made: a full look takes tens of milliseconds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])


async def _serve(read: Settings, create: Callable[[Settings, Runtime], ASGIApp]) -> None:
    runtime = Runtime()
    public = _server(create(read, runtime), read.listen_host, read.listen_port)
    internal = _server(internal_app(runtime.health), read.internal_host, read.internal_port)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    servers = [asyncio.create_task(server.serve()) for server in (public, internal)]
    stopping = asyncio.create_task(stop.wait())
    log.info("service_started", port=read.listen_port, internal_port=read.internal_port)
    await asyncio.wait([stopping, *servers], return_when=asyncio.FIRST_COMPLETED)
    log.info("service_stopping")
    runtime.health.draining = True
    runtime.draining.set()
    public.should_exit = True
    await asyncio.wait([servers[0]], timeout=_GRACE_SECONDS)
    internal.should_exit = True
    stopping.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*servers)


def _server(app: ASGIApp, host: str, port: int) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http="httptools",
            loop="none",
            lifespan="on",
            access_log=False,
            log_config=None,
            server_header=False,
            # The client's address is read by `client_address`, from the gateway only.
            proxy_headers=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            backlog=4096,
        )
    )
