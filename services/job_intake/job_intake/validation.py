"""What the specification asks of a submission. All that is wrong is told at once, fields and payload alike."""

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
from platform_server.kit.bodies import decode

_FIELDS = frozenset(SubmitJob.__struct_fields__)

_Key = Annotated[str, Meta(min_length=1, max_length=255)]
_Kinds = tuple[Literal["host", "tools", "versions"], ...]

_ILLEGIBLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Scan(Struct, frozen=True):
    tool: str


class _Legible(Struct, frozen=True):
    """What can be judged of a submission, though other fields are wrong."""

    type: JobType
    payload: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


@dataclass(frozen=True, slots=True)
class Problem:
    """``reason`` is the label of ``job_validation_failures_total``, from a closed set."""

    reason: str
    error: FieldError


class Refused(Invalid):
    """``type`` is there if it could be read."""

    def __init__(self, problems: list[Problem], *, type: JobType | None) -> None:
        self.reasons = tuple(problem.reason for problem in problems)
        self.type = type
        super().__init__([problem.error for problem in problems])


def read(body: bytes) -> SubmitJob:
    """A valid submission. Raises Refused, or TooLarge over 1 MB of payload as sent."""
    try:
        asked = decode(body, SubmitJob)
    except Invalid as wrong:
        raise _refusal(body, wrong) from None
    if found := _problems(asked.type, asked.payload):
        raise Refused(found, type=asked.type)
    return asked


def idempotency_key(given: str | None) -> str | None:
    """Raises Refused."""
    try:
        return msgspec.convert(given, _Key) if given is not None else None
    except msgspec.ValidationError as error:
        raise Refused([_problem("idempotency_key_invalid", "Idempotency-Key", str(error))], type=None) from error


def tool_of(job: SubmitJob) -> str | None:
    """The scanner that a valid scan names."""
    return msgspec.json.decode(job.payload, type=_Scan).tool if job.type is JobType.SCAN else None


def _refusal(body: bytes, wrong: Invalid) -> Refused:
    problems = [Problem(_reason(error.field), error) for error in wrong.errors]
    try:
        legible = msgspec.json.decode(body, type=_Legible)
    except _ILLEGIBLE:
        return Refused(problems, type=None)
    if bytes(legible.payload):
        problems += _problems(legible.type, legible.payload)
    return Refused(problems, type=legible.type)


def _reason(field: str) -> str:
    if not field:
        return "body_malformed"
    name = field.partition("[")[0]
    return f"{name}_invalid" if name in _FIELDS else "unknown_field"


def _problems(type_: JobType, payload: msgspec.Raw) -> list[Problem]:
    if len(bytes(payload)) > MAX_PAYLOAD_BYTES:
        raise TooLarge(f"The payload is larger than {MAX_PAYLOAD_BYTES} bytes.")
    try:
        given = msgspec.json.decode(payload, type=dict[str, object])
    except _ILLEGIBLE as error:
        return [_problem("payload_malformed", "payload", str(error))]
    match type_:
        case JobType.SCAN:
            return [*_tool(given.get("tool")), *_target(given.get("target"))]
        case JobType.COLLECT:
            return list(_kinds(given.get("kinds", ())))
        case JobType.HEALTH_CHECK:
            return []


def _tool(tool: object) -> Iterator[Problem]:
    if tool is None:
        yield _problem("tool_missing", "payload.tool", "Required for a scan.")
    elif not isinstance(tool, str) or tool not in SCANNERS:
        yield _problem("tool_not_allowed", "payload.tool", f"Not one of: {', '.join(sorted(SCANNERS))}.")


def _target(target: object) -> Iterator[Problem]:
    if target is None:
        yield _problem("target_missing", "payload.target", "Required for a scan.")
    elif not isinstance(target, str):
        yield _problem("target_refused", "payload.target", "Must be a text.")
    elif (wrong := check_target(target)) is not None:
        yield _problem("target_refused", "payload.target", wrong)


def _kinds(kinds: object) -> Iterator[Problem]:
    try:
        msgspec.convert(kinds, _Kinds)
    except msgspec.ValidationError as error:
        yield _problem("kinds_invalid", "payload.kinds", str(error))


def _problem(reason: str, field: str, message: str) -> Problem:
    return Problem(reason, FieldError(field, message))
