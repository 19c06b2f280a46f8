"""Credentials: bootstrap tokens, agent keys and job tokens. Stored as SHA-256 only, compared in constant time."""

import hashlib
import hmac
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from platform_core.domain.errors import KeyInvalid, TokenInvalid
from platform_core.domain.ids import JobId

_ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_BOOTSTRAP = re.compile(r"\A([a-z0-9]{6})\.([a-z0-9]{16})\Z", re.ASCII)

AGENT_KEY_PREFIX: Final = "rdv_agent_"
_AGENT_KEY = re.compile(r"\Ardv_agent_([0-9a-f]{64})([0-9a-f]{8})\Z", re.ASCII)
_SHOWN_OF_KEY: Final = len(AGENT_KEY_PREFIX) + 8

_JOB_TOKEN = re.compile(r"\A([a-z0-9]{1,16})\.([1-9][0-9]{0,8})\.([0-9a-f]{64})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class BootstrapToken:
    """A kubeadm-style token, ``xxxxxx.yyyyyyyyyyyyyyyy``; the prefix is public, the rest is not."""

    prefix: str
    secret: str

    @property
    def raw(self) -> str:
        return f"{self.prefix}.{self.secret}"

    def __repr__(self) -> str:
        return f"BootstrapToken({self.prefix}.…)"


def parse_bootstrap(raw: str) -> BootstrapToken:
    """Raises TokenInvalid unless the text is six and sixteen of [a-z0-9], joined by a dot, and nothing else."""
    match = _BOOTSTRAP.match(raw)
    if match is None:
        raise TokenInvalid("token_malformed")
    return BootstrapToken(match[1], match[2])


def new_bootstrap(random_below: Callable[[int], int]) -> BootstrapToken:
    """A fresh token; ``random_below(n)`` gives an unbiased number in [0, n)."""
    text = "".join(_ALPHABET[random_below(len(_ALPHABET))] for _ in range(22))
    return BootstrapToken(text[:6], text[6:])


def secret_hash(raw: str) -> str:
    """SHA-256, in hex: all that is stored of a bootstrap token, an agent key or a job token."""
    return hashlib.sha256(raw.encode()).hexdigest()


def same_hash(one: str, other: str) -> bool:
    """Equal? In constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def new_agent_key(random: bytes) -> str:
    """An agent's API key: 256 random bits and a checksum, so that scanners and typing errors are caught offline."""
    if len(random) != 32:
        raise ValueError("an agent key takes 32 random bytes")
    body = random.hex()
    return f"{AGENT_KEY_PREFIX}{body}{_checksum(body)}"


def check_agent_key(raw: str) -> str:
    """The key as it is, if its form and checksum are right. Raises KeyInvalid."""
    match = _AGENT_KEY.match(raw)
    if match is None:
        raise KeyInvalid("key_malformed")
    if not same_hash(_checksum(match[1]), match[2]):
        raise KeyInvalid("key_checksum")
    return raw


def key_prefix(raw: str) -> str:
    """The part of an agent key that may be shown."""
    return raw[:_SHOWN_OF_KEY]


def _checksum(body: str) -> str:
    return f"{zlib.crc32(f'{AGENT_KEY_PREFIX}{body}'.encode()):08x}"


def job_token(job: JobId, attempt: int, *, kid: str, key: bytes) -> str:
    """``kid.attempt.mac``: given again whenever it is asked for, never stored."""
    return f"{kid}.{attempt}.{_mac(job, attempt, kid=kid, key=key)}"


def read_job_token(raw: str, job: JobId, keys: Mapping[str, bytes]) -> int:
    """The attempt that a genuine token speaks for. Raises TokenInvalid when it is malformed or forged."""
    match = _JOB_TOKEN.match(raw)
    if match is None:
        raise TokenInvalid("job_token_malformed")
    kid, attempt, mac = match[1], int(match[2]), match[3]
    if kid not in keys or not same_hash(_mac(job, attempt, kid=kid, key=keys[kid]), mac):
        raise TokenInvalid("job_token_forged")
    return attempt


def _mac(job: JobId, attempt: int, *, kid: str, key: bytes) -> str:
    return hmac.new(key, f"{kid}.{attempt}.".encode() + job.bytes, hashlib.sha256).hexdigest()
