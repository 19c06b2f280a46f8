"""Job intake's settings; variables are ``PLATFORM_<NAME>``."""

from typing import Annotated

from msgspec import Meta

from platform_server.kit.settings import ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    # How long a submission may wait for an agent that is known to be waiting for such a job.
    assign_wait_ms: Annotated[int, Meta(ge=0, le=1000)] = 25
