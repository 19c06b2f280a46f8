"""JSON bodies: every bad field at once, and nothing hostile gets past."""

from collections.abc import Callable
from typing import Annotated

import msgspec
import pytest
from msgspec import Meta
from starlette.requests import Request

from platform_core.domain.errors import Invalid, TooLarge, UnsupportedMedia
from platform_core.wire.base import LenientRequest, StrictRequest
from platform_server.kit import bodies

MakeRequest = Callable[..., Request]

Name = Annotated[str, Meta(max_length=5)]


class Strict(StrictRequest, frozen=True):
    name: Name
    count: Annotated[int, Meta(ge=1, le=10)] = 1
    labels: tuple[Name, ...] = ()
    payload: msgspec.Raw = msgspec.Raw(b"{}")


class Lenient(LenientRequest, frozen=True):
    count: int = 1


def wrong_fields(raw: bytes) -> list[str]:
    with pytest.raises(Invalid) as refused:
        bodies.decode(raw, Strict)
    assert all(error.message for error in refused.value.errors)
    return sorted(error.field for error in refused.value.errors)


def test_every_bad_field_is_named_at_once() -> None:
    raw = b'{"count": 11, "labels": ["ok", "too long"], "unknown": 1}'
    assert wrong_fields(raw) == ["count", "labels[1]", "name", "unknown"]


def test_an_unknown_field_is_refused_of_tenants_and_ignored_of_agents() -> None:
    assert wrong_fields(b'{"name": "a", "nmae": "b"}') == ["nmae"]
    assert bodies.decode(b'{"count": 2, "of_the_future": 1}', Lenient) == Lenient(count=2)


def test_the_rule_stops_at_the_payload() -> None:
    raw = b'{"name": "a", "payload": {"anything": [1, {"at": "all"}]}}'
    assert bytes(bodies.decode(raw, Strict).payload) == b'{"anything": [1, {"at": "all"}]}'


def test_an_empty_body_is_an_object_without_fields() -> None:
    assert bodies.decode(b"", Lenient) == Lenient()
    assert wrong_fields(b"") == ["name"]


HOSTILE = {
    "nested 10,000 deep": b'{"name": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "payload nested 10,000 deep": b'{"name": "a", "payload": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "nested and never closed": b"[" * 10_000,
    "not a number": b'{"name": "a", "count": NaN}',
    "infinity": b'{"name": "a", "count": Infinity}',
    "10 to the 400th": b'{"name": "a", "count": 1e400}',
    "400 digits": b'{"name": "a", "count": ' + b"9" * 400 + b"}",
    "a lone surrogate": b'{"name": "\\ud800"}',
    "surrogates the wrong way round": b'{"name": "\\udc00\\ud800"}',
    "not UTF-8": b'{"name": "\xff"}',
    "payload not UTF-8": b'{"name": "a", "payload": "\xff"}',
    "a control character": b'{"name": "a\nb"}',
    "NUL": b'{"name": "a\x00"}',
    "UTF-16": '{"name": "a"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"name": "a"}',
    "two documents": b'{"name": "a"}{}',
    "cut off": b'{"name": "a',
    "a list": b"[]",
    "a word": b"null",
    "single quotes": b"{'name': 'a'}",
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_hostile_json_is_invalid(raw: bytes) -> None:
    wrong_fields(raw)


def test_of_a_key_that_stands_twice_the_last_one_counts_as_everywhere() -> None:
    assert bodies.decode(b'{"name": "a", "name": "b"}', Strict).name == "b"


@pytest.mark.parametrize(
    "media_type",
    [None, "application/json", "Application/JSON; charset=utf-8", "application/x-www-form-urlencoded"],
)
async def test_content_types_that_are_read_as_json(request_of: MakeRequest, media_type: str | None) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    assert await bodies.read(request_of(b'{"count": 2}', headers=headers), Lenient) == Lenient(count=2)


@pytest.mark.parametrize("media_type", ["text/plain", "multipart/form-data", "application/xml", "application/jsonp"])
async def test_any_other_content_type_is_unsupported(request_of: MakeRequest, media_type: str) -> None:
    with pytest.raises(UnsupportedMedia):
        await bodies.read(request_of(b"{}", headers={"Content-Type": media_type}), Lenient)


async def test_a_body_may_be_as_large_as_the_limit(request_of: MakeRequest) -> None:
    assert await bodies.read_bytes(request_of(b"x" * 6, b"x" * 4), limit=10) == b"x" * 10


async def test_a_larger_body_is_refused_by_what_it_says_and_by_what_it_sends(request_of: MakeRequest) -> None:
    with pytest.raises(TooLarge):
        await bodies.read_bytes(request_of(b"x", headers={"Content-Length": "11"}), limit=10)
    with pytest.raises(TooLarge):
        await bodies.read_bytes(request_of(b"x" * 6, b"x" * 5), limit=10)


async def test_a_body_that_is_too_large_is_not_read_to_its_end(request_of: MakeRequest) -> None:
    request = request_of(*[b"x" * 10] * 1000)
    with pytest.raises(TooLarge):
        await bodies.read_bytes(request, limit=25)
    left = [message async for message in request.stream()]
    assert sum(map(len, left)) == 10 * 997
