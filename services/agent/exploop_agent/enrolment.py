"""This agent's identity: registered once with a bootstrap token, kept as a key in a file that only we can read."""

import asyncio
import os
import platform
import random
from pathlib import Path

from exploop_agent import log
from exploop_agent.api import Api, Away, Refused, pause
from exploop_agent.settings import VERSION, Settings
from platform_core.wire.agents import Register

# Seconds between two tries for a name.
_NAME_TAKEN_PAUSE = 20.0


class NoIdentity(Exception):
    """There is neither a key nor a bootstrap token."""


class KeyFile:
    """``agent.key`` in the state folder, mode 0600, written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "agent.key"

    def read(self) -> str | None:
        return self._file.read_text().strip() if self._file.exists() else None

    def write(self, key: str) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = self._file.with_suffix(".new")
        # A leftover of an earlier try would keep its mode.
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(key)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(self._file)

    def forget(self) -> None:
        self._file.unlink(missing_ok=True)


async def identify(api: Api, settings: Settings, *, capabilities: tuple[str, ...], tools: tuple[str, ...]) -> None:
    """Give the API its key: the stored one, or a new one for the bootstrap token.

    Waits while the platform is away, and while an agent of that name is online. Raises NoIdentity, or Refused when
    the platform will not have this agent.
    """
    file = KeyFile(settings.state)
    api.key = file.read()
    if api.key is not None:
        return
    if settings.bootstrap_token is None:
        raise NoIdentity("no key is stored and REDIVER_BOOTSTRAP_TOKEN is not set")
    body = Register(
        bootstrap_token=settings.bootstrap_token,
        name=settings.name,
        capabilities=capabilities,
        tools=tools,
        labels=settings.labels,
        region=settings.region,
        max_concurrent=settings.max_concurrent,
        version=VERSION,
        hostname=platform.node(),
    )
    api.key = await _register(api, body)
    file.write(api.key)


async def _register(api: Api, body: Register) -> str:
    attempt = 0
    while True:
        try:
            made = await api.register(body)
        except Away as away:
            log.warning("platform_away", why=away)
            await asyncio.sleep(pause(attempt, asked=away.retry_after))
            attempt += 1
        except Refused as refused:
            if refused.code != "name_taken":
                raise
            # Most likely by ourselves, before we crashed: it is free again once that agent counts as offline.
            log.warning("name_taken", name=body.name)
            await asyncio.sleep(random.uniform(0.5, 1) * _NAME_TAKEN_PAUSE)  # noqa: S311 - jitter
        else:
            log.info("registered", agent=made.agent.id, name=made.agent.name)
            return made.api_key
