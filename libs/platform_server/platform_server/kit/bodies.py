"""Reading and writing JSON bodies, as docs/api.md says it."""

import re
from functools import lru_cache
from typing import Any, TypeVar, get_type_hints

import msgspec
from msgspec import Struct
from starlette.requests import Request, StateT
from starlette.responses import Response

from platform_core.domain.errors import FieldError, Invalid, TooLarge, UnsupportedMedia

Body = TypeVar("Body", bound=Struct)

# curl's default is taken too: the specification's examples send it.
_JSON_TYPES = frozenset({"", "application/json", "application/x-www-form-urlencoded"})
_PATH = re.compile(r"^(?P<message>.*?) - at `\$\.?(?P<path>.*?)`$", re.DOTALL)
_LIMIT = 65_536


async def read(request: Request[StateT], kind: type[Body], *, limit: int = _LIMIT) -> Body:
    """The body as ``kind``, an empty one as ``{}``. Raises UnsupportedMedia, Invalid, TooLarge over ``limit`` bytes."""
    return decode(await read_bytes(request, limit=limit), kind)


async def read_bytes(request: Request[StateT], *, limit: int) -> bytes:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in _JSON_TYPES:
        raise UnsupportedMedia
    if int(request.headers.get("content-length") or 0) > limit:
        raise TooLarge
    chunks = bytearray()
    async for chunk in request.stream():
        chunks += chunk
        if len(chunks) > limit:
            raise TooLarge
    return bytes(chunks)


def decode(raw: bytes, kind: type[Body]) -> Body:
    """Raises Invalid that names every bad field, not only the first."""
    text = raw or b"{}"
    try:
        # A part that is kept as it was sent is not looked into by msgspec.
        text.decode()
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as first:
        raise Invalid(_all_errors(text, kind, first)) from None


def _all_errors(raw: bytes, kind: type[Struct], first: Exception) -> list[FieldError]:
    """msgspec stops at the first bad field, so each field is tried alone."""
    if not isinstance(first, msgspec.ValidationError):
        return [FieldError("", "The body is not valid JSON.")]
    try:
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except RecursionError:
        return [FieldError("", "The body is nested too deeply.")]
    except msgspec.DecodeError:
        return [FieldError("", "The body must be a JSON object.")]
    known = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    hints = _hints(kind)
    found = [FieldError(n, "Required.") for n, f in known.items() if f.required and n not in fields]
    for name, value in fields.items():
        if name in known:
            found += _field_errors(name, value, hints[known[name].name])
        elif kind.__struct_config__.forbid_unknown_fields:
            found.append(FieldError(name, "Unknown field."))
    return found or [_field_error(first)]


def _field_errors(name: str, value: msgspec.Raw, hint: Any) -> list[FieldError]:
    try:
        msgspec.json.decode(value, type=hint)
    except msgspec.DecodeError as error:
        inner = _field_error(error)
        separator = "" if not inner.field or inner.field.startswith("[") else "."
        return [FieldError(f"{name}{separator}{inner.field}", inner.message)]
    return []


def _field_error(error: Exception) -> FieldError:
    match = _PATH.match(str(error))
    return FieldError(match["path"], match["message"]) if match else FieldError("", str(error))


@lru_cache(maxsize=128)
def _hints(kind: type[Struct]) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def answer(body: Struct, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(body), status, headers=headers, media_type="application/json")


def no_content() -> Response:
    return Response(status_code=204)
