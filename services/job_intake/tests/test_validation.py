"""What a submission may say (specification, "Input Validation")."""

from typing import Any
from urllib.parse import quote

import msgspec
from httpx import Response
from submitting import JOBS, Body, Tenant, bad_fields, problem, scan

from world import World

SPECIFIED_SCANNERS = [
    "semgrep", "gitleaks", "trivy", "trivy-fs", "trivy-config", "trivy-image", "trivy-full", "nuclei",
    "bandit", "gosec", "brakeman", "eslint", "tfsec", "checkov", "grype", "dependency",
]  # fmt: skip
ONE_MEGABYTE = 1_048_576


async def told(tenant: Tenant, field: str, values: list[Any], body: Body) -> dict[str, object]:
    """For each value of the field: 201, or the fields that a 400 names."""
    answers = [(value, await tenant.submit(with_field(body, field, value))) for value in values]
    return {repr(v): 201 if answer.status_code == 201 else bad_fields(answer) for v, answer in answers}


def with_field(body: Body, field: str, value: object) -> Body:
    outer, _, inner = field.partition(".")
    return body | {outer: body[outer] | {inner: value} if inner else value}


def all_told(values: list[Any], outcome: object) -> dict[str, object]:
    return {repr(value): outcome for value in values}


async def test_scan_collect_and_health_check_are_the_only_job_types(tenant: Tenant) -> None:
    assert await told(tenant, "type", ["scan", "collect", "health_check"], scan()) == all_told(
        ["scan", "collect", "health_check"], 201
    )
    others: list[Any] = ["exec", "SCAN", "Scan", "health-check", "scan ", "", None, 1, ["scan"], {}]
    assert await told(tenant, "type", others, scan()) == all_told(others, ["type"])


async def test_each_of_the_16_scanners_is_accepted_and_no_other(tenant: Tenant) -> None:
    assert len(set(SPECIFIED_SCANNERS)) == 16
    assert await told(tenant, "payload.tool", SPECIFIED_SCANNERS, scan()) == all_told(SPECIFIED_SCANNERS, 201)
    others: list[Any] = [
        "nmap", "sh", "Semgrep", "semgrep ", " semgrep", "semgrep;id", "trivy-fs\n", "trivy_fs", "nuclei\0", "",
        "../bandit", "ｂandit", None, 7, ["bandit"], {"bandit": 1}, True,
    ]  # fmt: skip
    assert await told(tenant, "payload.tool", others, scan()) == all_told(others, ["payload.tool"])


CLIMBING = [
    "../secrets", "src/../../secrets", "src/..", "..", "a/../b", "..\\secrets", "src\\..\\..\\secrets",
    "%2e%2e/secrets", "%2E%2E/secrets", ".%2e/secrets", "..%2fsecrets", "..%2Fsecrets", "%2e%2e%2fsecrets",
    "..%5csecrets", "%252e%252e%252fsecrets", "..%252fsecrets",
    quote(quote(quote("../secrets", safe=""), safe=""), safe=""),
    "..%c0%afsecrets", "..%c1%9csecrets", "%c0%ae%c0%ae/secrets", "..%e0%80%afsecrets", "..%u2215secrets",
    "%u002e%u002e/x", "..\u2215secrets", "..\u2044secrets", "..\u29f8secrets", "..\uff0fsecrets",
    "\uff0e\uff0e/secrets", "\u2025/secrets", "https://github.com/acme/../other.git", "https://example.com/?next=../x",
]  # fmt: skip
ABSOLUTE = [
    "/etc/passwd", "//etc/passwd", "%2fetc/passwd", "%252fetc", "\uff0fetc", "\\windows", "\\\\server\\share",
    "C:\\windows", "c:/windows", "~", "~/x", "~root/x", "%7e/x", "file:///etc/passwd", "file:/etc/passwd",
]  # fmt: skip
HIDING = [
    "src\0", "src%00", "src%2500", "\0", "src\n", "src\nid", "src\r\nid", "\tsrc", "src\x1b[0m", "src\u200b",
    "\u202esrc", "", " ", " src", "src ", "x" * 2049,
]  # fmt: skip
OPTIONS = ["-", "-oN/tmp/x", "--config=x", "%2d-config", "\uff0dx"]
SHELL = ["src;id", "$(id)", "`id`", "src|id", "src>x", "src&id", "{a,b}", "*", "'x'", '"x"']
OTHER_SCHEMES = ["ssh://host/x", "git://host/x", "ftp://host/x", "gopher://x/", "javascript:/x"]


async def test_a_target_that_leads_elsewhere_is_refused_in_any_spelling(tenant: Tenant) -> None:
    hostile: list[Any] = [*CLIMBING, *ABSOLUTE, *HIDING, *OPTIONS, *SHELL, *OTHER_SCHEMES, None, 7, ["src"], {}]
    assert await told(tenant, "payload.target", hostile, scan()) == all_told(hostile, ["payload.target"])


async def test_a_target_that_leads_nowhere_else_is_accepted(tenant: Tenant) -> None:
    harmless = [
        "src", "src/a..b", "...", ".", ".github", "a/.b/c", "example.com", "https://github.com/acme/shop.git",
        "https://example.com:8443/a%20b?x=1&y=2", "203.0.113.7", "alpine:3.20", "x" * 2048,
    ]  # fmt: skip
    assert await told(tenant, "payload.target", harmless, scan()) == all_told(harmless, 201)


async def test_a_scan_without_tool_and_target_names_both(tenant: Tenant) -> None:
    answer = await tenant.submit({"type": "scan", "payload": {}})
    assert bad_fields(answer) == ["payload.tool", "payload.target"]


async def test_every_bad_field_is_named_at_once(tenant: Tenant) -> None:
    wrong = {
        "type": "scan",
        "payload": {"tool": "rm", "target": "../x"},
        "priority": "urgent",
        "capabilities": ["Nuclei"],
        "preferred_region": "",
        "timeout": 7201,
        "colour": "red",
    }
    named = ["payload.tool", "payload.target", "priority", "capabilities[0]", "preferred_region", "timeout", "colour"]
    assert sorted(bad_fields(await tenant.submit(wrong))) == sorted(named)
    assert sorted(bad_fields(await tenant.submit({"colour": "red"}))) == ["colour", "payload", "type"]


async def test_a_payload_of_exactly_1_mb_is_accepted_and_one_byte_more_is_413(tenant: Tenant) -> None:
    """As sent: spaces count, and what JSON could say shorter."""
    for filling, rest in (("x" * ONE_MEGABYTE, ""), ("ä" * (ONE_MEGABYTE // 2), ""), ("", " " * ONE_MEGABYTE)):
        for surplus in (0, 1):
            size = ONE_MEGABYTE + surplus
            head, tail = b'{"note":"', b'"}'
            room = size - len(head) - len(tail)
            if rest:
                payload = head + b'"' + b" " * room + b"}"
            else:
                text = filling.encode()[: room // 2 * 2]
                payload = head + text + b"." * (room - len(text)) + tail
            assert len(payload) == size
            answer = await tenant.call("POST", JOBS, content=b'{"type":"health_check","payload":' + payload + b"}")
            if surplus:
                problem(answer, 413, "payload_too_large")
            else:
                assert answer.status_code == 201, answer.text
                assert payload in answer.content


async def test_a_body_beyond_any_submission_is_413_before_it_is_read(tenant: Tenant) -> None:
    answer = await tenant.call("POST", JOBS, content=b" " * (2 * ONE_MEGABYTE))
    problem(answer, 413, "payload_too_large")


async def test_a_timeout_is_1_to_7200_seconds_and_1800_when_it_is_not_said(tenant: Tenant) -> None:
    for seconds in (1, 1800, 7200):
        assert (await tenant.submitted(scan() | {"timeout": seconds}))["job"]["timeout"] == seconds
    assert (await tenant.submitted())["job"]["timeout"] == 1800
    wrong = [0, -1, 7201, 1.5, "60", None, True]
    assert await told(tenant, "timeout", wrong, scan()) == all_told(wrong, ["timeout"])


async def test_the_priority_is_normal_when_it_is_not_said(tenant: Tenant) -> None:
    assert (await tenant.submitted())["job"]["priority"] == "normal"
    for priority in ("critical", "high", "normal", "low"):
        assert (await tenant.submitted(scan() | {"priority": priority}))["job"]["priority"] == priority
    wrong = ["urgent", "HIGH", "", None, 1000]
    assert await told(tenant, "priority", wrong, scan()) == all_told(wrong, ["priority"])


async def test_names_are_lower_case_and_at_most_50_long_and_many(tenant: Tenant) -> None:
    fifty = [f"c{n}" for n in range(50)]
    good = [[], ["nmap"], ["a.b_c-d", "0"], ["x" * 50], fifty]
    assert await told(tenant, "capabilities", good, scan()) == all_told(good, 201)
    for bad in (["Nmap"], [""], ["-x"], ["a b"], ["x" * 51], ["a\n"], ["ä"], [7], [None]):
        assert bad_fields(await tenant.submit(scan() | {"capabilities": bad})) == ["capabilities[0]"], bad
    whole: list[Any] = [[*fifty, "c50"], "nmap", None, {}]
    assert await told(tenant, "capabilities", whole, scan()) == all_told(whole, ["capabilities"])
    regions: list[Any] = ["us-east-1", None]
    assert await told(tenant, "preferred_region", regions, scan()) == all_told(regions, 201)
    nowhere: list[Any] = ["US", "", "a b", 7]
    assert await told(tenant, "preferred_region", nowhere, scan()) == all_told(nowhere, ["preferred_region"])


async def test_unknown_fields_are_refused_outside_the_payload_and_kept_inside(tenant: Tenant) -> None:
    assert bad_fields(await tenant.submit(scan() | {"priorty": "high"})) == ["priorty"]
    kept = {"templates": ["cves", "exposures"], "deep": {"ä": [1, 2.5, None, True]}}
    job = (await tenant.submitted(scan(**kept)))["job"]
    assert job["payload"] == {"tool": "nuclei", "target": "example.com", **kept}
    assert (await tenant.job(job["id"]))["payload"] == job["payload"]


async def test_a_payload_comes_back_byte_for_byte(tenant: Tenant) -> None:
    payload = b'{ "target":"a\\u0062c",\n\t"tool" : "nuclei", "n": 1.0e2, "big": 12345678901234567890123, "n": -0 }'
    body = b'{"payload":' + payload + b',"type":"scan"}'
    made = await tenant.call("POST", JOBS, content=body)
    assert made.status_code == 201, made.text
    assert payload in made.content
    assert payload in (await tenant.call("GET", f"{JOBS}/{made.json()['job']['id']}")).content
    assert payload in (await tenant.call("GET", JOBS)).content


async def test_collect_takes_kinds_of_inventory_and_health_check_nothing(tenant: Tenant) -> None:
    collect: Body = {"type": "collect", "payload": {}}
    good: list[Any] = [[], ["host"], ["host", "tools", "versions"]]
    assert await told(tenant, "payload.kinds", good, collect) == all_told(good, 201)
    bad: list[Any] = [["users"], "host", None, [1]]
    assert await told(tenant, "payload.kinds", bad, collect) == all_told(bad, ["payload.kinds"])
    assert (await tenant.submitted(collect))["job"]["payload"] == {}
    assert (await tenant.submitted({"type": "health_check", "payload": {}}))["job"]["payload"] == {}
    nothing: list[Any] = [None, [], "", 1]
    assert await told(tenant, "payload", nothing, collect) == all_told(nothing, ["payload"])


HOSTILE = {
    "nothing": b"",
    "no JSON": b"{",
    "no object": b"[]",
    "a field twice": b'{"type":"exec","type":"health_check","payload":{}}',
    "a text": b'"scan"',
    "two values": b"{} {}",
    "not a number": b'{"type":"health_check","payload":{"n":NaN}}',
    "beyond a double": b'{"type":"health_check","payload":{"n":1e999}}',
    "a lone surrogate": b'{"type":"health_check","payload":{"n":"\\ud800"}}',
    "a lone surrogate as a name": b'{"type":"health_check","payload":{"\\udfff":1}}',
    "not UTF-8": b'{"type":"health_check","payload":{"n":"\xff"}}',
    "not UTF-8 outside": b'{"type":"\xff","payload":{}}',
    "overlong UTF-8": b'{"type":"health_check","payload":{"n":"\xc0\xaf"}}',
    "a raw NUL": b'{"type":"health_check","payload":{"n":"\x00"}}',
    "a raw newline": b'{"type":"health_check","payload":{"n":"\n"}}',
    "a byte order mark": b'\xef\xbb\xbf{"type":"health_check","payload":{}}',
    "deep": b'{"type":"health_check","payload":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    "deep outside": b"[" * 10_000 + b"]" * 10_000,
    "deep in a wrong field": b'{"type":' + b"[" * 10_000 + b"]" * 10_000 + b',"payload":{}}',
}
UNUSUAL = {
    "an escaped NUL": b'{"type":"health_check","payload":{"n":"\\u0000"}}',
    "a long integer": b'{"type":"health_check","payload":{"n":1' + b"0" * 400 + b"}}",
    "no spaces but many": b' \n{"type":"health_check" , "payload" : { } }\t ',
}


async def test_hostile_json_is_400_and_unusual_json_is_taken(tenant: Tenant, world: World) -> None:
    refused = {name: (await tenant.call("POST", JOBS, content=body)).status_code for name, body in HOSTILE.items()}
    assert refused == dict.fromkeys(HOSTILE, 400)
    taken = {name: (await tenant.call("POST", JOBS, content=body)).status_code for name, body in UNUSUAL.items()}
    assert taken == dict.fromkeys(UNUSUAL, 201)
    await world.hand_out(await world.agent(), count=len(UNUSUAL))


async def test_a_body_is_read_as_json_unless_it_says_that_it_is_another_thing(tenant: Tenant) -> None:
    """The type that curl sends by itself says nothing."""

    async def submit(**headers: str) -> Response:
        return await tenant.call("POST", JOBS, content=msgspec.json.encode(scan()), headers=headers)

    assert (await submit()).status_code == 201
    for taken in ("application/json", "Application/JSON; charset=utf-8", "application/x-www-form-urlencoded"):
        assert (await submit(**{"Content-Type": taken})).status_code == 201, taken
    for other in ("text/json", "text/plain", "application/jsonx", "multipart/form-data; boundary=x"):
        problem(await submit(**{"Content-Type": other}), 415, "unsupported_media_type")
