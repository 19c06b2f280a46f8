"""What a scan is aimed at: a path, a git repository, a host or an image, told by the scanner and the spelling."""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from platform_core.domain.errors import FieldError, Invalid
from platform_core.domain.spelling import check_target

__all__ = [
    "GitTarget",
    "ImageTarget",
    "NetworkTarget",
    "PathTarget",
    "Target",
    "canonical_host",
    "check_target",
    "parse_target",
]

_NETWORK_SCANNERS: Final = frozenset({"nuclei"})
_IMAGE_SCANNERS: Final = frozenset({"trivy-image"})
_EITHER_SCANNERS: Final = frozenset({"trivy", "trivy-full", "grype"})

_URL = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>\[[0-9a-f:.]+\]|[^/?#@:\[\]]+)(?::(?P<port>[0-9]{1,5}))?(?P<rest>[/?#].*)?",
    re.IGNORECASE | re.ASCII,
)
_HOST_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
# What browsers and resolvers read as a number: 127.1, 0x7f.0.0.1 and 2130706433 are all addresses.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
# nuclei scans every address of an autonomous system that is named so.
_AUTONOMOUS_SYSTEM = re.compile(r"as[0-9]+", re.ASCII)
_IMAGE = re.compile(
    r"(?:(?P<registry>localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)+|[a-z0-9.-]+(?=:[0-9]+/))(?::(?P<port>[0-9]{1,5}))?/)?"
    r"(?P<name>[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*)"
    r"(?P<tag>:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(?P<digest>@sha256:[0-9a-f]{64})?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class PathTarget:
    """A path inside the tenant's workspace, always relative."""

    path: str


@dataclass(frozen=True, slots=True)
class GitTarget:
    """A repository over https; ``host`` is a canonical name or address that nobody has resolved yet."""

    url: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class NetworkTarget:
    """``url`` as the tenant wrote it; the host apart, in canonical spelling; ``port`` None where it was not written."""

    url: str
    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class ImageTarget:
    """``registry`` with its port; None means the scanner's default."""

    reference: str
    registry: str | None


Target = PathTarget | GitTarget | NetworkTarget | ImageTarget


def parse_target(tool: str, target: str) -> Target:
    """What ``tool`` would scan. Raises Invalid when the spelling is refused or the tool cannot be aimed at it."""
    if (refusal := check_target(target)) is not None:
        raise _invalid(refusal)
    if tool in _NETWORK_SCANNERS:
        return _network(target)
    if tool in _IMAGE_SCANNERS:
        return _image(target)
    if "://" in target:
        return _git(target)
    if tool in _EITHER_SCANNERS and _is_surely_image(target):
        return _image(target)
    return PathTarget(target)


def canonical_host(text: str) -> str | None:
    """A DNS name in lower case or an address in its one spelling; None for everything else, odd numbers included."""
    text = text.lower().removesuffix(".")
    try:
        if ":" in text and "%" not in text:
            return str(IPv6Address(text.removeprefix("[").removesuffix("]")))
        labels = text.split(".")
        if _NUMBER.fullmatch(labels[-1]):
            return str(IPv4Address(text))
    except AddressValueError:
        return None
    return text if len(text) <= 253 and all(map(_HOST_LABEL.fullmatch, labels)) else None


def _network(target: str) -> NetworkTarget:
    # A scanner would split the text at a comma and scan the rest unchecked.
    match = None if "," in target or " " in target else _URL.fullmatch(target)
    host = canonical_host(match["host"]) if match else None
    if match is None or host is None or _AUTONOMOUS_SYSTEM.fullmatch(host):
        raise _invalid("Must be a host name, an address or an http(s) address.")
    if match["scheme"] is None and match["rest"] is not None and _is_address(host):
        raise _invalid("Must be one address, not a range of them.")
    return NetworkTarget(target, host, _port(match["port"]))


def _git(target: str) -> GitTarget:
    match = _URL.fullmatch(target)
    host = canonical_host(match["host"]) if match else None
    if match is None or host is None or " " in target:
        raise _invalid("Must be a relative path or the https address of a git repository.")
    if (match["scheme"] or "").lower() != "https":
        raise _invalid("A git repository is fetched over https only.")
    return GitTarget(target, host, _port(match["port"]) or 443)


def _image(target: str) -> ImageTarget:
    match = _IMAGE.fullmatch(target)
    if match is None or (match["registry"] and canonical_host(match["registry"]) is None):
        raise _invalid("Must be the name of an image.")
    port = _port(match["port"])
    return ImageTarget(target, match["registry"] if port is None else f"{match['registry']}:{port}")


def _is_surely_image(target: str) -> bool:
    """An image is told from a path by its tag or digest."""
    match = _IMAGE.fullmatch(target)
    return match is not None and (match["tag"] or match["digest"]) is not None


def _is_address(host: str) -> bool:
    return ":" in host or _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


def _port(text: str | None) -> int | None:
    if text is None:
        return None
    if not 1 <= int(text) <= 65_535:
        raise _invalid("The port must be between 1 and 65535.")
    return int(text)


def _invalid(message: str) -> Invalid:
    return Invalid([FieldError("payload.target", message)])
