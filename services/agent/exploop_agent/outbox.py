"""Results that the platform has not taken yet, on disk: neither an API that is away nor a restart loses one."""

import asyncio
import hashlib
import os
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

    def keep(self, credentials: JobCredentials, body: bytes) -> None:
        """Store it durably before the first try to send it."""
        file = self._file(credentials)
        fresh = file.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            out.write(msgspec.msgpack.encode(_Kept(credentials, body)))
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)

    async def deliver(self, credentials: JobCredentials) -> None:
        """Until the platform takes it, or refuses it for good: then the job is over or another's."""
        file = self._file(credentials)
        body = msgspec.msgpack.decode(file.read_bytes(), type=_Kept).body
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
            file.unlink(missing_ok=True)
            return

    def waiting(self) -> list[JobCredentials]:
        """Whose results were left by an earlier run."""
        return [
            msgspec.msgpack.decode(file.read_bytes(), type=_Kept).credentials for file in self._folder.glob("*.result")
        ]

    def _file(self, credentials: JobCredentials) -> Path:
        token = hashlib.sha256(credentials.token.encode()).hexdigest()[:16]
        return self._folder / f"{credentials.job}-{token}.result"
