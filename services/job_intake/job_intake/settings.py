"""Job intake's settings; variables are ``PLATFORM_<NAME>``."""

from typing import Annotated

from msgspec import Meta

from platform_server.kit.settings import ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    # How long a submission may wait for an agent that is known to be waiting for such a job.
    assign_wait_ms: Annotated[int, Meta(ge=0, le=1000)] = 25
    # So many submissions may be in work at once, and none is begun while one has been in work for so long.
    max_submissions_in_work: Annotated[int, Meta(ge=1)] = 2000
    submission_patience_ms: Annotated[int, Meta(ge=1)] = 1000
