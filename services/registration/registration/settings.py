"""What this service is told, beside what every service is."""

from datetime import timedelta

from platform_server.kit.settings import Seconds, ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """``key_rotation_grace_seconds``: how long an agent's old key lives on after a rotation."""

    key_rotation_grace_seconds: Seconds = 3600

    @property
    def rotation_grace(self) -> timedelta:
        return timedelta(seconds=self.key_rotation_grace_seconds)
