"""What the specification asks of a submission, beyond what its type says. All that is wrong is told at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from platform_core.domain.errors import FieldError, Invalid, TooLarge
from platform_core.domain.jobs import MAX_PAYLOAD_BYTES, JobType
from platform_core.domain.scanners import SCANNERS
from platform_core.domain.targets import check_target
from platform_core.wire.jobs import SubmitJob


class _Scan(Struct, frozen=True):
    tool: str | None = None
    target: Annotated[str, Meta(max_length=2000)] | None = None


class _Collect(Struct, frozen=True):
    kinds: tuple[Literal["host", "tools", "versions"], ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """``reason`` is the label of ``job_validation_failures_total``, from a closed set."""

    reason: str
    error: FieldError


def problems(job: SubmitJob) -> list[Problem]:
    """Everything that is wrong with the payload. Raises TooLarge over 1 MB of payload as sent."""
    if len(bytes(job.payload)) > MAX_PAYLOAD_BYTES:
        raise TooLarge(f"The payload is larger than {MAX_PAYLOAD_BYTES} bytes.")
    match job.type:
        case JobType.SCAN:
            return list(_scan(job.payload))
        case JobType.COLLECT:
            return list(_fits(job.payload, _Collect))
        case JobType.HEALTH_CHECK:
            return list(_fits(job.payload, Struct))


def tool_of(job: SubmitJob) -> str | None:
    """The scanner that a valid scan names."""
    return msgspec.json.decode(job.payload, type=_Scan).tool if job.type is JobType.SCAN else None


def refuse(found: list[Problem]) -> None:
    """Raises Invalid if there is anything."""
    if found:
        raise Invalid([problem.error for problem in found])


def _scan(payload: msgspec.Raw) -> Iterator[Problem]:
    unfit = list(_fits(payload, _Scan))
    if unfit:
        yield from unfit
        return
    scan = msgspec.json.decode(payload, type=_Scan)
    if scan.tool is None:
        yield _problem("tool_missing", "payload.tool", "Required for a scan.")
    elif scan.tool not in SCANNERS:
        yield _problem("tool_not_allowed", "payload.tool", f"Not one of: {', '.join(sorted(SCANNERS))}.")
    if not scan.target:
        yield _problem("target_missing", "payload.target", "Required for a scan.")
    elif (wrong := check_target(scan.target)) is not None:
        yield _problem("target_refused", "payload.target", wrong)


def _fits(payload: msgspec.Raw, kind: type[Struct]) -> Iterator[Problem]:
    try:
        msgspec.json.decode(payload, type=dict[str, object])
        msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        yield _problem("payload_malformed", "payload", str(error))


def _problem(reason: str, field: str, message: str) -> Problem:
    return Problem(reason, FieldError(field, message))
