"""Scans: the real scanners on the sample project, and what no project may do to them; scans by the proxy."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from exploop_agent import install, scanners
from exploop_agent.findings import Finding
from exploop_agent.network import Address, AddressRefused, checked_addresses
from exploop_agent.proxy import Judge
from exploop_agent.scan import Bench, Failure, Order, scan
from exploop_agent.table import TABLE
from exploop_agent.workspace import TargetRefused

# The first run on a machine installs them, which takes minutes.
pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[3]
SHOP = ROOT / "deploy" / "local" / "samples" / "vulnerable-shop"
TENANT = UUID(int=7)


@pytest.fixture(scope="session")
def real() -> Mapping[str, Path]:
    """The scanners that are Python packages, each really installed; kept from run to run."""
    folder = ROOT / ".local" / "scanners"
    install.install([], folder)
    found = {name: scanners.locate(TABLE[name], folder) for name in install.ENVIRONMENTS}
    return {name: path for name, path in found.items() if path is not None}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The sample project in the tenant's workspace."""
    place = tmp_path / "workspace" / str(TENANT) / "shop"
    shutil.copytree(SHOP, place)
    return place


def judge() -> Judge:
    return partial(checked_addresses, private_allowed=False)


async def nobody(host: str) -> Sequence[Address]:
    raise AddressRefused(f"{host} is not to be reached")


async def hear_nothing(percent: int, message: str) -> None:
    """A platform to whom progress is told in vain."""


async def found(
    tools: Mapping[str, Path], place: Path, tool: str, target: str = "shop", *, way_out: Judge = nobody
) -> list[Finding]:
    workspace = next((folder.parent for folder in place.parents if folder.name == str(TENANT)), place)
    bench = Bench(tools, workspace, workspace / "cache", way_out, 2**31)
    return await scan(Order(tool, target), bench, tenant=TENANT, seconds=110, tell=hear_nothing)


def seen(findings: list[Finding]) -> set[tuple[str, str | None]]:
    return {(finding.rule_id, finding.path) for finding in findings}


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ("bandit", {("B602", "shop/admin.py"), ("B301", "shop/orders.py"), ("B324", "shop/admin.py")}),
        ("semgrep", {("python-eval", "shop/orders.py"), ("python-shell-command", "shop/admin.py")}),
        ("checkov", {("CKV_AWS_20", "infrastructure/storage.tf"), ("CKV_DOCKER_7", "Dockerfile")}),
    ],
)
async def test_a_real_scanner_finds_what_is_wrong_with_the_sample(
    real: Mapping[str, Path], shop: Path, tool: str, expected: set[tuple[str, str]]
) -> None:
    findings = await found(real, shop, tool)
    assert expected <= seen(findings)
    assert {finding.tool for finding in findings} == {tool}
    assert all(finding.line for finding in findings)


@pytest.mark.parametrize(
    ("tool", "file", "rule"),
    [
        ("bandit", "shop/shop/orders.py", "B301"),
        ("checkov", "shop/Dockerfile", "CKV_DOCKER_7"),
    ],
)
async def test_a_real_scanner_takes_a_single_file(
    real: Mapping[str, Path], shop: Path, tool: str, file: str, rule: str
) -> None:
    assert (rule, Path(file).name) in seen(await found(real, shop, tool, file))


@pytest.mark.parametrize("tool", ["bandit", "checkov"])
async def test_a_clean_project_has_no_findings(real: Mapping[str, Path], shop: Path, tool: str) -> None:
    clean = shop.with_name("clean")
    shutil.copytree(shop, clean, ignore=shutil.ignore_patterns("shop", "infrastructure", "Dockerfile"))
    (clean / "clean.py").write_text("def double(number: int) -> int:\n    return 2 * number\n")
    assert await found(real, shop, tool, "clean") == []


async def test_a_project_cannot_make_checkov_run_its_code(real: Mapping[str, Path], shop: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (shop / "checks").mkdir()
    (shop / "checks" / "__init__.py").touch()
    (shop / "checks" / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    for name in (".checkov.yaml", ".checkov.yml"):
        (shop / name).write_text(f"external-checks-dir:\n  - {shop / 'checks'}\nskip-path:\n  - Dockerfile\n")
    findings = await found(real, shop, "checkov")
    assert ("CKV_DOCKER_7", "Dockerfile") in seen(findings)
    assert not [file for file in (mark,) if file.exists()]


async def test_a_project_cannot_configure_bandit(real: Mapping[str, Path], shop: Path) -> None:
    (shop / ".bandit").write_text("[bandit]\nexclude: *\nskips: B301,B602\nconfigfile: /etc/passwd\n")
    (shop / "shop" / ".bandit").write_text("[bandit]\nskips: B324\n")
    assert {("B301", "shop/orders.py"), ("B324", "shop/admin.py")} <= seen(await found(real, shop, "bandit"))


async def test_pip_audit_that_cannot_reach_its_service_says_so(real: Mapping[str, Path], shop: Path) -> None:
    with pytest.raises(Failure, match=r"dependency ended with code 1: .*pypi\.org.*403 Forbidden"):
        await found(real, shop, "dependency")


@pytest.mark.parametrize(
    ("requirements", "said"),
    [("jinja2>=2\n", "jinja2 is not pinned"), ("jinja2 == ==\n", "requirements.txt contains invalid specifier")],
)
async def test_requirements_that_are_not_pinned_fail_and_say_so(
    real: Mapping[str, Path], shop: Path, requirements: str, said: str
) -> None:
    (shop / "requirements.txt").write_text(requirements)
    with pytest.raises(Failure, match=said) as failure:
        await found(real, shop, "dependency")
    assert str(shop) not in str(failure.value)


async def test_requirements_build_nothing_that_they_name(real: Mapping[str, Path], shop: Path, tmp_path: Path) -> None:
    (shop / "setup.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w').close()\n")
    (shop / "requirements.txt").write_text(f"-e .\nshop @ file://{shop}\n")
    assert {finding.rule_id for finding in await found(real, shop, "dependency")} == {"not-checked"}
    assert not [file for file in (tmp_path / "mark",) if file.exists()]


async def test_a_folder_without_requirements_is_nothing_for_pip_audit(real: Mapping[str, Path], shop: Path) -> None:
    (shop / "requirements.txt").unlink()
    with pytest.raises(TargetRefused, match=r"dependency needs a requirements\.txt in the folder"):
        await found(real, shop, "dependency")


@pytest.mark.parametrize(
    ("tool", "target", "why"),
    [
        ("nuclei", "http://127.0.0.1:{port}/", "a special-purpose address"),
        ("nuclei", "localhost", "a special-purpose address"),
        ("nuclei", "169.254.169.254", "a cloud's metadata service"),
        ("nuclei", "http://[::ffff:169.254.169.254]/", "a cloud's metadata service"),
        ("nuclei", "10.0.0.1", "a private address"),
        ("nuclei", "127.1", "payload.target|host name"),
        ("trivy-image", "localhost:5000/app:1", "a special-purpose address"),
        ("trivy", "169.254.169.254:80/app:1", "a cloud's metadata service"),
        ("grype", "127.0.0.1:5000/app:1", "a special-purpose address"),
        ("bandit", "https://localhost/a.git", "a special-purpose address"),
        ("gosec", "shop/Dockerfile", "gosec cannot be aimed at a file"),
    ],
)
async def test_a_target_that_may_not_be_reached_is_refused_with_the_reason(
    shop: Path, tool: str, target: str, why: str
) -> None:
    tools = dict.fromkeys(TABLE, Path("/bin/false"))
    with pytest.raises(TargetRefused) as refused:
        await found(tools, shop, tool, target.format(port=1), way_out=judge())
    assert any(word in str(refused.value) for word in why.split("|"))


# nuclei, as far as its options go: it fetches its targets by the proxy it is given, and reports what it saw.
NUCLEI = """
import json, urllib.request
assert '-type' in sys.argv and 'http' == sys.argv[sys.argv.index('-type') + 1]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({'http': sys.argv[sys.argv.index('-proxy') + 1]}))
results = []
for address in target.split(','):
    if address.startswith('http:'):
        try:
            text = opener.open(address).read().decode()
        except urllib.error.HTTPError as error:
            text = f'{error.code} {error.read().decode().strip()}'
        if text != 'clean':
            results.append({'ruleId': 'seen', 'level': 'note', 'message': {'text': text}})
if results:
    rule = {'id': 'seen', 'properties': {'security-severity': '5'}}
    json.dump({'runs': [{'tool': {'driver': {'rules': [rule]}}, 'results': results}]}, open(report, 'w'))
"""


@asynccontextmanager
async def website(answer: bytes) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        moved = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
        plain = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer)
        writer.write(moved if b"/moved" in head else plain)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.fixture
def nuclei(scanner: Callable[..., Path]) -> Mapping[str, Path]:
    return {"nuclei": scanner("nuclei", NUCLEI)}


async def the_shop_is_here(host: str) -> Sequence[Address]:
    """As a resolver and judge would say of a public host; everything else is judged truly."""
    return [ip_address("127.0.0.1")] if host == "shop.example" else await judge()(host)


async def test_a_network_scan_goes_by_the_proxy_and_comes_back_with_findings(
    nuclei: Mapping[str, Path], tmp_path: Path
) -> None:
    async with website(b"open") as port:
        for target in (f"http://shop.example:{port}/", f"shop.example:{port}"):
            (finding,) = await found(nuclei, tmp_path, "nuclei", target, way_out=the_shop_is_here)
            assert (finding.rule_id, finding.severity, finding.message) == ("seen", "medium", "open")


async def test_a_target_that_leads_elsewhere_is_held_back_by_the_proxy(
    nuclei: Mapping[str, Path], tmp_path: Path
) -> None:
    async with website(b"open") as port:
        target = f"http://shop.example:{port}/moved"
        (finding,) = await found(nuclei, tmp_path, "nuclei", target, way_out=the_shop_is_here)
    assert finding.message == "403 the host leads to a cloud's metadata service"


async def test_a_scanner_that_is_silent_when_all_is_well_has_found_nothing(
    nuclei: Mapping[str, Path], tmp_path: Path
) -> None:
    async with website(b"clean") as port:
        target = f"http://shop.example:{port}/"
        assert await found(nuclei, tmp_path, "nuclei", target, way_out=the_shop_is_here) == []


async def test_an_image_scanner_is_given_the_proxy_by_its_environment(
    scanner: Callable[..., Path], tmp_path: Path
) -> None:
    body = (
        "import json\n"
        "told = [os.environ.get(name, '') for name in ('HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY')]\n"
        "json.dump({'runs': [{'results': [{'message': {'text': ' '.join([target, *told])}}]}]}, open(report, 'w'))"
    )
    tools: Any = {"trivy-image": scanner("trivy-image", body)}
    (finding,) = await found(tools, tmp_path, "trivy-image", "shop.example/app:1", way_out=the_shop_is_here)
    target, http, https = finding.message.split()
    assert target == "shop.example/app:1"
    assert http == https
    assert http.startswith("http://127.0.0.1:")


async def test_a_scanner_s_database_is_kept_from_job_to_job_and_used_by_one_at_a_time(
    scanner: Callable[..., Path], shop: Path, tmp_path: Path
) -> None:
    body = (
        "cache = sys.argv[sys.argv.index('--cache-dir') + 1]\n"
        "os.makedirs(cache, exist_ok=True)\n"
        "mine = os.open(cache + '/busy', os.O_CREAT | os.O_EXCL)\n"
        "seen = os.path.exists(cache + '/database')\n"
        "with open(cache + '/database', 'wb') as out: out.truncate(300 * 2**20)\n"
        "time.sleep(0.1); os.unlink(cache + '/busy')\n"
        'open(report, \'w\').write(\'{"runs": [{"results": [{"message": {"text": "%s"}}]}]}\' % seen)'
    )
    tools = {"trivy-fs": scanner("trivy-fs", body)}
    bench = Bench(tools, tmp_path / "workspace", tmp_path / "cache", nobody, 2**31)
    order = Order("trivy-fs", "shop")
    both = [scan(order, bench, tenant=TENANT, seconds=60, tell=hear_nothing) for _ in range(2)]
    said = [finding.message for findings in await asyncio.gather(*both) for finding in findings]
    assert sorted(said) == ["False", "True"]


async def test_grype_and_gosec_are_told_by_their_environment_what_they_may_not_do(
    scanner: Callable[..., Path], shop: Path
) -> None:
    body = (
        "import json\n"
        "told = [os.environ.get(name, '') for name in ('GRYPE_DB_CACHE_DIR', 'CGO_ENABLED', 'GOTOOLCHAIN')]\n"
        "json.dump({'runs': [{'results': [{'message': {'text': ' '.join(told)}}]}]}, open(report, 'w'))"
    )
    for tool, told in (("grype", "cache/grype  "), ("gosec", " 0 local")):
        (finding,) = await found({tool: scanner(tool, body)}, shop, tool)
        assert finding.message.endswith(told)
