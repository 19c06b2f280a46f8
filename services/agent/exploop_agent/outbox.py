"""Results that the platform has not taken yet, on disk: neither an API that is away nor a restart loses one."""

import asyncio
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from exploop_agent import log
from exploop_agent.api import Api, Away, JobCredentials, Refused, pause


class _Kept(Struct):
    credentials: JobCredentials
    body: bytes


class Outbox:
    """One file a result, in ``folder``."""

    def __init__(self, api: Api, folder: Path) -> None:
        self._api = api
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def send(self, credentials: JobCredentials, body: bytes) -> None:
        """Kept durably before the first try. A disk that is full does not stop it: then it is in memory only."""
        file = self._file(credentials)
        try:
            _write(file, msgspec.msgpack.encode(_Kept(credentials, body)))
        except OSError as error:
            log.warning("result_not_kept", job=credentials.job, why=error)
        await self._deliver(file, credentials, body)

    async def send_leftovers(self) -> None:
        """Deliver what an earlier run could not."""
        await asyncio.gather(*(self._deliver(file, kept.credentials, kept.body) for file, kept in self._waiting()))

    async def _deliver(self, file: Path, credentials: JobCredentials, body: bytes) -> None:
        """Until the platform takes it, or refuses it for good: then the job is over or another's."""
        attempt = 0
        while True:
            try:
                await self._api.result(credentials, body)
            except Away as away:
                log.warning("result_waits", job=credentials.job, why=away)
                await asyncio.sleep(pause(attempt, asked=away.retry_after))
                attempt += 1
                continue
            except Refused as refused:
                log.warning("result_refused", job=credentials.job, code=refused.code)
            _forget(file)
            return

    def _waiting(self) -> Iterator[tuple[Path, _Kept]]:
        for file in self._folder.glob("*.result"):
            try:
                yield file, msgspec.msgpack.decode(file.read_bytes(), type=_Kept)
            except (OSError, msgspec.DecodeError) as error:
                log.warning("result_unreadable", file=file.name, why=error)

    def _file(self, credentials: JobCredentials) -> Path:
        token = hashlib.sha256(credentials.token.encode()).hexdigest()[:16]
        return self._folder / f"{credentials.job}-{token}.result"


def _write(file: Path, content: bytes) -> None:
    """Whole or not at all; for our eyes only: it holds the job's token."""
    fresh = file.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)


def _forget(file: Path) -> None:
    file.unlink(missing_ok=True)
