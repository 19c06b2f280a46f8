"""The table of scanners: the sixteen of the specification, called safely."""

from pathlib import Path

import pytest

from exploop_agent import scanners
from exploop_agent.scanners import Aim, Call, Scanner, Target, WayOut, Where
from exploop_agent.table import TABLE
from platform_core.domain.scanners import SCANNERS

HOSTILE = "/ws/$(id);x `id` $report"
# Not everybody ends options with "--": then the target is bound to its option, or begins with a slash anyway.
BOUND = {
    "checkov": ("--directory=", "--file="),
    "dependency": ("--requirement",),
    "brakeman": ("--path",),
    "nuclei": ("-target",),
}
ROWS = [pytest.param(row, aim, id=f"{name} {aim.value}") for name, row in TABLE.items() for aim in row.calls]


def call(aim: Aim, text: str) -> Call:
    return Call(Path("/opt/it/bin/it"), Target(aim, text), Path("/job/report"), "http://127.0.0.1:1", Path("/cache"))


def command(row: Scanner, aim: Aim, text: str = HOSTILE) -> list[str]:
    return scanners.command(row, call(aim, text))


def test_all_scanners_of_the_specification_are_rows_and_nothing_else_is() -> None:
    assert set(TABLE) == SCANNERS
    assert all(name == row.name for name, row in TABLE.items())


@pytest.mark.parametrize(("row", "aim"), ROWS)
def test_the_target_stands_where_it_cannot_be_read_as_an_option(row: Scanner, aim: Aim) -> None:
    argv = command(row, aim)
    (place,) = [n for n, word in enumerate(argv) if HOSTILE in word]
    assert place == len(argv) - 1
    if bound := BOUND.get(row.name):
        assert argv[place].startswith(bound) or argv[place - 1] in bound
    else:
        assert argv[place - 1] == "--"


@pytest.mark.parametrize(("row", "aim"), ROWS)
def test_no_shell_and_no_second_template_reads_the_target(row: Scanner, aim: Aim) -> None:
    argv = command(row, aim)
    assert HOSTILE in argv[-1]
    assert not {"sh", "bash", "-c"} & set(argv)
    assert not [word for word in argv[:-1] if "$" in word]


@pytest.mark.parametrize(("row", "aim"), ROWS)
def test_a_report_is_written_where_it_is_read(row: Scanner, aim: Aim) -> None:
    argv = command(row, aim, "x")
    assert "/job/report" in argv or "/job" in argv


@pytest.mark.parametrize(
    ("name", "aims"),
    [
        ("bandit", {Aim.FOLDER, Aim.FILE}),
        ("gosec", {Aim.FOLDER}),
        ("brakeman", {Aim.FOLDER}),
        ("tfsec", {Aim.FOLDER}),
        ("nuclei", {Aim.NETWORK}),
        ("trivy-image", {Aim.IMAGE}),
        ("trivy", {Aim.FOLDER, Aim.FILE, Aim.IMAGE}),
        ("trivy-full", {Aim.FOLDER, Aim.FILE, Aim.IMAGE}),
        ("grype", {Aim.FOLDER, Aim.FILE, Aim.IMAGE}),
    ],
)
def test_a_row_says_what_its_scanner_can_be_aimed_at(name: str, aims: set[Aim]) -> None:
    assert set(TABLE[name].calls) == aims


@pytest.mark.parametrize("row", [row for row in TABLE.values() if {Aim.NETWORK, Aim.IMAGE} & set(row.calls)])
def test_whatever_goes_out_to_a_target_goes_by_the_proxy(row: Scanner) -> None:
    assert row.way_out is not WayOut.NOTHING
    if row.way_out is WayOut.OPTION:
        assert "http://127.0.0.1:1" in command(row, Aim.NETWORK)
    else:
        told = scanners.variables(row, call(Aim.IMAGE, "x"))
        names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
        assert [told[name] for name in names] == ["http://127.0.0.1:1"] * 4
        assert not [name for name in told if "no_proxy" in name.lower()]


def test_nuclei_sends_nothing_that_does_not_heed_a_proxy() -> None:
    argv = command(TABLE["nuclei"], Aim.NETWORK, "http://shop.example")
    assert argv[argv.index("-type") + 1] == "http"
    assert {"-no-interactsh", "-no-httpx", "-proxy-internal", "-disable-update-check"} <= set(argv)


def test_a_project_s_own_configuration_is_never_read() -> None:
    assert "--no-config-lookup" in command(TABLE["eslint"], Aim.FOLDER)
    assert "--ini" in command(TABLE["bandit"], Aim.FOLDER)
    assert "--config" in command(TABLE["gitleaks"], Aim.FOLDER)
    assert "--config-file" in command(TABLE["brakeman"], Aim.FOLDER)
    assert not {"-d", "--directory"} & set(command(TABLE["checkov"], Aim.FOLDER))
    assert {"--no-deps", "--disable-pip"} <= set(command(TABLE["dependency"], Aim.FOLDER))


@pytest.mark.parametrize("name", ["bandit.ini", "brakeman.yml", "eslint.config.mjs", "gitleaks.toml", "semgrep.yaml"])
def test_our_own_rules_are_there(name: str) -> None:
    assert (scanners.RULES / name).is_file()


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_a_secret_that_is_found_is_not_shown(row: Scanner) -> None:
    if row.name == "gitleaks":
        assert "--redact" in command(row, Aim.FOLDER)


def test_a_scanner_works_where_its_row_says(tmp_path: Path) -> None:
    target = Target(Aim.FOLDER, "/ws/src", root=Path("/ws/src"))
    places = {row.name: scanners.working_directory(row, target=target, folder=tmp_path) for row in TABLE.values()}
    assert places["bandit"] == tmp_path
    assert places["eslint"] == Path("/ws/src")
    assert places["semgrep"] == scanners.RULES
    assert places["checkov"] == Path("/")
    assert {row.where for row in TABLE.values()} == set(Where)


def program(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o755)
    return file


def test_a_scanner_of_its_own_environment_comes_before_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = program(tmp_path / "path" / "bandit")
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert scanners.locate(TABLE["bandit"], tmp_path / "scanners") == on_path
    own = program(tmp_path / "scanners" / "bandit" / "bin" / "bandit")
    assert scanners.locate(TABLE["bandit"], tmp_path / "scanners") == own
    assert scanners.locate(TABLE["bandit"], None) == on_path


def test_what_is_not_installed_is_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert scanners.installed(TABLE, tmp_path) == {}
    program(tmp_path / "trivy")
    assert set(scanners.installed(TABLE, None)) == {"trivy", "trivy-fs", "trivy-config", "trivy-image", "trivy-full"}
    (tmp_path / "trivy").chmod(0o644)
    assert scanners.installed(TABLE, None) == {}


@pytest.mark.parametrize("name", ["nuclei", "eslint"])
def test_a_scanner_without_what_it_needs_besides_is_not_offered(tmp_path: Path, name: str) -> None:
    row = TABLE[name]
    program(tmp_path / name / "bin" / row.binary)
    assert scanners.locate(row, tmp_path) is None
    assert row.resource is not None
    program(tmp_path / name / row.resource)
    assert scanners.locate(row, tmp_path) is not None
