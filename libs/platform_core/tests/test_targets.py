"""Targets: how they may be spelled, and what they are."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform_core.domain.errors import Invalid
from platform_core.domain.scanners import SCANNERS
from platform_core.domain.targets import (
    GitTarget,
    ImageTarget,
    NetworkTarget,
    PathTarget,
    Target,
    canonical_host,
    check_target,
    parse_target,
)

ALLOWED = [
    "example.com",
    "example.com:8443",
    "sub.example.com/path?x=1",
    "https://example.com",
    "https://example.com/a/b?x=1&y=2#z",
    "http://[2001:db8::1]:8080/",
    "HTTPS://example.com/",
    "https://example.com/caf%C3%A9?q=a%20b%28c%29",
    "https://github.com/acme/shop.git",
    "192.0.2.1",
    "nginx",
    "nginx:1.27",
    "registry.example.com:5000/team/app:v1.2@sha256:" + "0" * 64,
    ".",
    "src",
    "./src/app",
    "src/.hidden/file-1.py",
    "my project/über.py",
    "a..b/c",
    "...",
    "node_modules/@scope/pkg",
    "c++/main.cc",
    "report 100%.txt",
]

TRAVERSALS = {
    "as the specification says it": "../etc/passwd",
    "in the middle": "src/../../etc",
    "at the end": "src/..",
    "alone": "..",
    "inside a word": "src/foo../bar",
    "in an address": "https://example.com/a/../b",
    "at the end of an address's path": "https://example.com/a/..?x=1",
    "before a fragment": "https://example.com/..#x",
    "backslashes": "..\\etc",
    "percent-encoded dots": "%2e%2e/etc",
    "a percent-encoded slash": "..%2fetc",
    "percent-encoded, upper case": "..%2Fetc",
    "percent-encoded throughout": "%2e%2e%2fetc",
    "half encoded": ".%2e/etc",
    "a percent-encoded backslash": "..%5cetc",
    "encoded twice": "%252e%252e%252fetc",
    "encoded three times": "..%25252fetc",
    "encoded too often to follow": "..%" + "25" * 9 + "2fetc",
    "overlong UTF-8": "%c0%ae%c0%ae%c0%afetc",
    "overlong slash": "..%c0%afetc",
    "IIS escapes": "%u002e%u002e%u002fetc",
    "full-width dots": "\uff0e\uff0e/etc",
    "a full-width slash": "..\uff0fetc",
    "a two-dot leader": "\u2025/etc",
    "a division slash": "..\u2215etc",
    "a fraction slash": "..\u2044etc",
    "a full-width percent sign": "\uff052e\uff052e/etc",
    "hidden by a zero-width space": ".\u200b./etc",
    "hidden by NUL": "..%00/etc",
}
ABSOLUTE = {
    "root": "/",
    "Unix": "/etc/passwd",
    "doubled": "//etc/passwd",
    "Windows drive": "C:\\Windows",
    "Windows drive, forward": "c:/Windows",
    "drive-relative": "c:windows",
    "UNC": "\\\\server\\share",
    "home": "~/.ssh",
    "another's home": "~root",
    "percent-encoded": "%2fetc%2fpasswd",
    "encoded twice": "%252fetc",
    "full-width": "\uff0fetc",
    "after an encoded space": "%20/etc",
    "a file address": "file:///etc/passwd",
    "a file address, one slash": "file:/etc/passwd",
}
OTHERWISE_HOSTILE = {
    "empty": "",
    "a space": " ",
    "too long": "a" * 2049,
    "an option": "-oN/tmp/x",
    "a long option": "--config=/tmp/x",
    "an encoded dash": "%2doN",
    "a full-width dash": "\uff0doN",
    "a dash after a space": " -oN",
    "a dash after an encoded space": "%20-oN",
    "NUL": "a\0b",
    "encoded NUL": "a%00b",
    "a newline": "a\nb",
    "an encoded newline": "a%0ab",
    "a tab": "a\tb",
    "an escape sequence": "a\x1b[2J",
    "right-to-left override": "a\u202eb",
    "a lone surrogate": "a\ud800",
    "a command": ";id",
    "a substitution": "$(id)",
    "backquotes": "`id`",
    "a pipe": "a|id",
    "and": "a&&id",
    "a redirection": "a>b",
    "a quote": "a'b",
    "a glob": "*",
    "ftp": "ftp://example.com",
    "ssh": "ssh://git@example.com/x",
    "gopher": "gopher://example.com",
    "a scheme alone": "https://",
}


@pytest.mark.parametrize("target", ALLOWED)
def test_a_target_may_be(target: str) -> None:
    assert check_target(target) is None


@pytest.mark.parametrize("target", TRAVERSALS.values(), ids=TRAVERSALS.keys())
def test_target_paths_cannot_contain_dot_dot_slash(target: str) -> None:
    assert check_target(target) is not None


@pytest.mark.parametrize("target", ABSOLUTE.values(), ids=ABSOLUTE.keys())
def test_target_paths_cannot_be_absolute(target: str) -> None:
    assert check_target(target) is not None


@pytest.mark.parametrize("target", OTHERWISE_HOSTILE.values(), ids=OTHERWISE_HOSTILE.keys())
def test_a_target_cannot_be(target: str) -> None:
    assert check_target(target) is not None


DOTS = [".", "%2e", "%2E", "%252e", "%25252e", "\uff0e", "\uff052e"]
SLASHES = ["/", "\\", "%2f", "%2F", "%5c", "%252f", "%255C", "\uff0f", "\uff3c", "\u2215", "\u2044", "\ufe68"]


@pytest.mark.parametrize("before", ["", "a/", "https://example.com/"])
def test_no_mixture_of_encodings_hides_a_traversal(before: str) -> None:
    for first, second, slash in product(DOTS, DOTS, SLASHES):
        assert check_target(f"{before}{first}{second}{slash}etc") is not None


@given(st.text() | st.text("./\\%25eEfFcC~-:a\uff0e\u2215", max_size=30))
def test_whatever_passes_is_harmless_as_it_stands(target: str) -> None:
    if check_target(target) is None:
        assert "../" not in target
        assert target.rpartition("/")[2] != ".."
        assert target[0] not in "-/\\~"
        assert target.isprintable()


@given(st.lists(st.from_regex(r"[a-z0-9_]{1,8}", fullmatch=True), min_size=1, max_size=6))
def test_plain_relative_paths_pass(parts: list[str]) -> None:
    assert check_target("/".join(parts)) is None


@pytest.mark.parametrize(
    ("tool", "target", "expected"),
    [
        ("nuclei", "example.com", NetworkTarget("example.com", "example.com", None)),
        ("nuclei", "EXAMPLE.com.:80", NetworkTarget("EXAMPLE.com.:80", "example.com", 80)),
        ("nuclei", "https://example.com/a?b", NetworkTarget("https://example.com/a?b", "example.com", None)),
        ("nuclei", "http://[2001:DB8::0:1]:81/", NetworkTarget("http://[2001:DB8::0:1]:81/", "2001:db8::1", 81)),
        ("nuclei", "http://192.0.2.7/", NetworkTarget("http://192.0.2.7/", "192.0.2.7", None)),
        ("semgrep", "src/app", PathTarget("src/app")),
        ("bandit", "example.com", PathTarget("example.com")),
        ("grype", "src/app", PathTarget("src/app")),
        ("semgrep", "https://github.com/a/b", GitTarget("https://github.com/a/b", "github.com", 443)),
        ("gitleaks", "https://git.test:8443/b", GitTarget("https://git.test:8443/b", "git.test", 8443)),
        ("trivy-image", "nginx", ImageTarget("nginx", None)),
        ("trivy-image", "library/nginx", ImageTarget("library/nginx", None)),
        ("trivy-image", "ghcr.io/a/b:1", ImageTarget("ghcr.io/a/b:1", "ghcr.io")),
        ("trivy-image", "hub:5000/a", ImageTarget("hub:5000/a", "hub:5000")),
        ("grype", "nginx:1.27", ImageTarget("nginx:1.27", None)),
        ("trivy", "nginx@sha256:" + "a" * 64, ImageTarget("nginx@sha256:" + "a" * 64, None)),
    ],
)  # fmt: skip
def test_a_target_is_what_its_scanner_and_spelling_say(tool: str, target: str, expected: Target) -> None:
    assert parse_target(tool, target) == expected


@pytest.mark.parametrize(
    ("tool", "target"),
    [
        ("nuclei", "2130706433"),
        ("nuclei", "0x7f000001"),
        ("nuclei", "0x7f.1"),
        ("nuclei", "127.1"),
        ("nuclei", "0177.0.0.1"),
        ("nuclei", "127.0.0.1.0x1"),
        ("nuclei", "http://example.com@127.0.0.1/"),
        ("nuclei", "http://127.0.0.1:80@example.com/"),
        ("nuclei", "example.com,127.0.0.1"),
        ("nuclei", "example.com 127.0.0.1"),
        ("nuclei", "10.0.0.0/8"),
        ("nuclei", "AS13335"),
        ("nuclei", "http://[::1%25eth0]/"),
        ("nuclei", "http://[::1"),
        ("nuclei", "http://\uff11\uff12\uff17.0.0.1/"),
        ("nuclei", "http://ⓔxample.com/"),
        ("nuclei", "http://exa%6dple.com/"),
        ("nuclei", "http://example.com:99999/"),
        ("nuclei", "http://example.com:0/"),
        ("nuclei", "a" * 64 + ".com"),
        ("nuclei", "example..com"),
        ("nuclei", "-example.com"),
        ("semgrep", "http://github.com/a/b"),
        ("semgrep", "https://user:secret@github.com/a/b"),
        ("semgrep", "https://127.1/a/b"),
        ("semgrep", "../a"),
        ("trivy-image", "Nginx"),
        ("trivy-image", "nginx:"),
        ("trivy-image", "https://example.com"),
        ("trivy-image", "a b"),
        ("trivy-image", "hub:99999/a"),
        ("trivy-image", "127.1/a"),
    ],
)
def test_a_scanner_cannot_be_aimed_at(tool: str, target: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_target(tool, target)
    assert [error.field for error in caught.value.errors] == ["payload.target"]


@given(tool=st.sampled_from(sorted(SCANNERS)), target=st.text())
def test_any_text_is_a_target_or_invalid(tool: str, target: str) -> None:
    try:
        parse_target(tool, target)
    except Invalid:
        return
    assert check_target(target) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("[::FFFF:127.0.0.1]", "::ffff:7f00:1"),
        ("::1", "::1"),
        ("fe80::1%eth0", None),
        ("bücher.example", None),
        ("", None),
        (".", None),
        ("a..b", None),
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.04", None),
        ("1.2.3", None),
        ("0x1", None),
    ],
)
def test_a_host_has_one_spelling(text: str, expected: str | None) -> None:
    assert canonical_host(text) == expected
