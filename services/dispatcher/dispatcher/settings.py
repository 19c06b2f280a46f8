"""The dispatcher's settings; variables are ``PLATFORM_<NAME>``."""

from platform_server.kit.settings import Seconds, ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """Durations in seconds."""

    # How long a job waits for an agent of its preferred region.
    region_patience_seconds: Seconds = 30.0
    # How often the queue is looked at while polls wait, whatever Redis says.
    sweep_seconds: Seconds = 1.0
    # How often held polls are noted as signs of life.
    presence_seconds: Seconds = 15.0
