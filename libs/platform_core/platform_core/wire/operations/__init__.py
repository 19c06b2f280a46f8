"""Every call of the HTTP contract, by the service that answers it, as data."""

from typing import Final

from platform_core.wire.openapi import Operation
from platform_core.wire.operations.agent_health import AGENT_HEALTH
from platform_core.wire.operations.dispatcher import DISPATCHER
from platform_core.wire.operations.job_intake import JOB_INTAKE
from platform_core.wire.operations.registration import REGISTRATION

__all__ = ["AGENT_HEALTH", "DISPATCHER", "EVERYTHING", "JOB_INTAKE", "REGISTRATION"]

EVERYTHING: Final[tuple[Operation, ...]] = (*REGISTRATION, *JOB_INTAKE, *DISPATCHER, *AGENT_HEALTH)
