"""A worker of which one replica acts: the lease that says which, and the transactions that it guards."""

import socket
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from uuid import uuid4

from platform_server.kit import logs, metrics
from platform_server.store.connection import Conn, Pool
from platform_server.store.leases import Lease

log = logs.logger(__name__)


def lease_of(worker: str, *, seconds: float) -> Lease:
    """This process' claim to act as that worker; another replica takes over so long after its last word."""
    return Lease(worker, f"{socket.gethostname()}-{uuid4()}", timedelta(seconds=seconds))


class Acting:
    """One replica's part in a worker."""

    def __init__(self, pool: Pool, lease: Lease) -> None:
        self._pool = pool
        self._lease = lease

    @property
    def held(self) -> bool:
        """Do we act, as far as we know?"""
        return self._lease.held

    @property
    def renewed_every(self) -> timedelta:
        return self._lease.lasts / 3

    async def renew(self) -> int:
        """A step: take the lease or keep it."""
        before = self._lease.held
        try:
            await self._lease.renew(self._pool)
        finally:
            if self._lease.held is not before:
                log.info("lease_taken" if self._lease.held else "lease_lost", worker=self._lease.name)
            if before and not self._lease.held:
                metrics.LEASES_EXPIRED.labels(self._lease.name).inc()
        return 0

    async def give_up(self) -> None:
        """Let the next replica act at once."""
        await self._lease.give_up(self._pool)

    def transaction(self) -> AbstractAsyncContextManager[Conn]:
        """A transaction that holds the lease. Raises NotActing, in place of the body, when another replica has it."""
        return self._lease.acting(self._pool)
