"""Bootstrap tokens, agent keys and job tokens."""

import hashlib
from collections.abc import Callable
from random import Random
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platform_core.domain.errors import KeyInvalid, TokenInvalid
from platform_core.domain.ids import JobId
from platform_core.domain.tokens import (
    AGENT_KEY_PREFIX,
    check_agent_key,
    job_token,
    key_prefix,
    new_agent_key,
    new_bootstrap,
    parse_bootstrap,
    read_job_token,
    same_hash,
    secret_hash,
)

EXAMPLE = "abc123.0123456789abcdef"
KEYS = {"k2": b"second" * 6, "k1": b"first." * 6}
JOBS = st.uuids().map(JobId)
RANDOM = st.binary(min_size=32, max_size=32)
ATTEMPTS = st.integers(min_value=1, max_value=999_999_999)

NOT_BOOTSTRAP = {
    "empty": "",
    "no dot": "abc1230123456789abcdef",
    "two dots": "abc123..0123456789abcde",
    "upper case": EXAMPLE.upper(),
    "prefix too short": "abc12.0123456789abcdef",
    "prefix too long": "abc1234.0123456789abcdef",
    "secret too short": EXAMPLE[:-1],
    "secret too long": EXAMPLE + "0",
    "a newline last": EXAMPLE + "\n",
    "a space first": " " + EXAMPLE,
    "NUL": "abc123.0123456789abcde\0",
    "Unicode digits": "abc١٢٣.0123456789abcdef",
    "a Unicode letter": "abc123.0123456789abcdeſ",
    "a lone surrogate": "abc123.0123456789abcde\ud800",
    "a megabyte": "a" * 1_048_576,
    "the right thing twice": f"{EXAMPLE}\n{EXAMPLE}",
}


def test_bootstrap_token_is_six_and_sixteen_characters() -> None:
    token = parse_bootstrap(EXAMPLE)
    assert (token.prefix, token.secret, token.raw) == ("abc123", "0123456789abcdef", EXAMPLE)


@pytest.mark.parametrize("raw", NOT_BOOTSTRAP.values(), ids=NOT_BOOTSTRAP.keys())
def test_nothing_else_is_a_bootstrap_token(raw: str) -> None:
    with pytest.raises(TokenInvalid):
        parse_bootstrap(raw)


@settings(max_examples=2000)
@given(st.text() | st.from_regex(r"[a-z0-9]{5,7}\.[a-z0-9]{15,17}\n?") | st.text("abc019.\n٣ſA", max_size=26))
def test_the_parser_takes_22_ascii_characters_and_a_dot_or_refuses(raw: str) -> None:
    try:
        token = parse_bootstrap(raw)
    except TokenInvalid:
        return
    assert token.raw == raw
    assert raw.isascii()
    assert (len(raw), raw[6]) == (23, ".")
    assert all(c.isdigit() or c.islower() for c in raw.replace(".", ""))


@given(st.integers())
def test_new_bootstrap_tokens_are_of_the_form_that_is_parsed(seed: int) -> None:
    token = new_bootstrap(Random(seed).randrange)
    assert parse_bootstrap(token.raw) == token


def test_new_bootstrap_tokens_use_the_whole_alphabet() -> None:
    made = "".join(new_bootstrap(Random(seed).randrange).raw for seed in range(200))
    assert len(set(made)) == 36 + 1


def test_a_bootstrap_tokens_secret_does_not_show_in_its_repr() -> None:
    assert "0123456789abcdef" not in repr(parse_bootstrap(EXAMPLE))


def test_tokens_are_hashed_with_sha_256() -> None:
    assert secret_hash(EXAMPLE) == hashlib.sha256(b"abc123.0123456789abcdef").hexdigest()
    assert same_hash(secret_hash(EXAMPLE), secret_hash(EXAMPLE))
    assert not same_hash(secret_hash(EXAMPLE), secret_hash(EXAMPLE + "0"))
    assert not same_hash(secret_hash(EXAMPLE), "é")


@given(random=RANDOM)
def test_an_agent_key_is_its_prefix_256_bits_and_a_checksum(random: bytes) -> None:
    key = new_agent_key(random)
    assert key.startswith(AGENT_KEY_PREFIX)
    assert random.hex() in key
    assert check_agent_key(key) == key
    assert key_prefix(key) == key[:18]


@given(
    st.binary(min_size=32, max_size=32), st.integers(min_value=10, max_value=81), st.sampled_from("0123456789abcdef")
)
def test_a_mistyped_agent_key_is_refused_without_a_look_up(random: bytes, place: int, typed: str) -> None:
    key = new_agent_key(random)
    mistyped = key[:place] + typed + key[place + 1 :]
    if mistyped != key:
        with pytest.raises(KeyInvalid) as caught:
            check_agent_key(mistyped)
        assert caught.value.reason == "key_checksum"


@pytest.mark.parametrize("change", [str.upper, lambda k: k + "\n", lambda k: k[:-1], lambda k: "x" + k, lambda _: ""])
def test_a_malformed_agent_key_is_refused(change: Callable[[str], str]) -> None:
    with pytest.raises(KeyInvalid) as caught:
        check_agent_key(change(new_agent_key(bytes(32))))
    assert caught.value.reason == "key_malformed"


@pytest.mark.parametrize("length", [0, 31, 33])
def test_an_agent_key_takes_exactly_256_bits(length: int) -> None:
    with pytest.raises(ValueError, match="32"):
        new_agent_key(bytes(length))


@given(job=JOBS, attempt=ATTEMPTS, kid=st.sampled_from(sorted(KEYS)))
def test_a_job_token_speaks_for_its_job_and_attempt(job: JobId, attempt: int, kid: str) -> None:
    raw = job_token(job, attempt, kid=kid, key=KEYS[kid])
    assert raw.split(".")[:2] == [kid, str(attempt)]
    assert raw == job_token(job, attempt, kid=kid, key=KEYS[kid])
    assert read_job_token(raw, job, KEYS) == attempt


@given(one=JOBS, other=JOBS, attempt=ATTEMPTS)
def test_a_job_token_does_not_open_another_job(one: JobId, other: JobId, attempt: int) -> None:
    if one != other:
        with pytest.raises(TokenInvalid):
            read_job_token(job_token(one, attempt, kid="k1", key=KEYS["k1"]), other, KEYS)


@given(job=JOBS, attempt=ATTEMPTS, other=ATTEMPTS)
def test_a_job_tokens_attempt_cannot_be_rewritten(job: JobId, attempt: int, other: int) -> None:
    kid, _, mac = job_token(job, attempt, kid="k1", key=KEYS["k1"]).split(".")
    if attempt != other:
        with pytest.raises(TokenInvalid):
            read_job_token(f"{kid}.{other}.{mac}", job, KEYS)


@given(job=JOBS)
def test_a_job_token_under_a_retired_or_another_key_is_refused(job: JobId) -> None:
    raw = job_token(job, 1, kid="k1", key=KEYS["k1"])
    for keys in ({}, {"k2": KEYS["k2"]}, {"k1": KEYS["k2"]}):
        with pytest.raises(TokenInvalid):
            read_job_token(raw, job, keys)


@given(st.text())
def test_no_text_is_a_job_token_by_chance(raw: str) -> None:
    with pytest.raises(TokenInvalid):
        read_job_token(raw, JobId(UUID(int=1)), KEYS)


def test_a_job_tokens_attempt_has_one_spelling() -> None:
    job = JobId(UUID(int=1))
    kid, attempt, mac = job_token(job, 1, kid="k1", key=KEYS["k1"]).split(".")
    for spelled in (f"0{attempt}", f"+{attempt}", f" {attempt}", "١"):
        with pytest.raises(TokenInvalid):
            read_job_token(f"{kid}.{spelled}.{mac}", job, KEYS)
