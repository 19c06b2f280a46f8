"""A tenant's submit rate: one token bucket in Redis for all replicas. While Redis is away nothing is held back."""

from datetime import timedelta
from importlib.resources import files

from redis.asyncio import Redis

from platform_core.domain.errors import RateLimited
from platform_core.domain.ids import TenantId
from platform_server.signals.connection import TROUBLE


class SubmitRate:
    def __init__(self, client: Redis) -> None:
        self._script = client.register_script(files(__package__).joinpath("rate.lua").read_text(encoding="utf-8"))

    async def take(self, tenant: TenantId, *, rate: int, burst: int) -> int:
        """Take one of the tenant's tokens; ``rate`` come back a second, up to ``burst``. Returns how many are left.

        Raises RateLimited.
        """
        try:
            wait_ms, left = await self._script(keys=[f"submit:{{{tenant}}}"], args=[rate, burst])
        except TROUBLE:
            return burst
        if wait_ms > 0:
            raise RateLimited(retry_after=timedelta(milliseconds=wait_ms))
        return int(left)
