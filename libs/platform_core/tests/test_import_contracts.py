"""Each import contract has been seen to fail: of a copy of the packages, with one import that must not be."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
LINTER = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]

# Contract → the module that offends, and what it imports.
OFFENCES = {
    "Services are strangers to each other": ("registration.routes", "exploop_agent.settings"),
    "Services stand on the server library, which stands on the core; the operator's tools know them,"
    " never the other way round": ("platform_server.kit.clock", "platform_ops.migrate"),
    "kit, store and signals do not know each other; assembly and app.py bring them together": (
        "platform_server.store.bans",
        "platform_server.kit.clock",
    ),
    "The wire may use the domain; the domain does not know the wire": (
        "platform_core.domain.plans",
        "platform_core.wire.base",
    ),
    "The domain is pure: no I/O, no clock, no environment, no logging, no framework": (
        "platform_core.domain.plans",
        "time",
    ),
    "Only the store (and the pool made in app.py) speaks SQL": ("platform_server.kit.clock", "asyncpg"),
    "Only signals speaks Redis": ("job_intake.routes", "redis"),
    "The agent comes in by the gateway like everybody: it never imports the server library": (
        "exploop_agent.settings",
        "platform_server.kit.clock",
    ),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of every package and of the contracts."""
    folder = tmp_path_factory.mktemp("house")
    shutil.copy(PYPROJECT, folder)
    for package in LINTER["root_packages"]:
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        shutil.copytree(Path(spec.origin).parent, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def broken(house: Path) -> list[str]:
    """The contracts that do not hold."""
    lint = Path(sys.executable).with_name("lint-imports")
    ended = subprocess.run(
        [lint, "--no-cache"],
        cwd=house,
        env={**os.environ, "PYTHONPATH": str(house), "COLUMNS": "1000"},
        capture_output=True,
        text=True,
        check=False,
    )
    told = re.findall(r"^(.*) (KEPT|BROKEN)$", ended.stdout, re.MULTILINE)
    assert len(told) == len(LINTER["contracts"]), ended.stdout + ended.stderr
    assert ended.returncode == any(how == "BROKEN" for _, how in told)
    return [name for name, how in told if how == "BROKEN"]


def test_every_contract_has_an_offence_here() -> None:
    assert set(OFFENCES) == {contract["name"] for contract in LINTER["contracts"]}


def test_the_copy_breaks_no_contract(house: Path) -> None:
    assert broken(house) == []


@pytest.mark.parametrize(("contract", "offence"), OFFENCES.items(), ids=OFFENCES)
def test_a_contract_breaks(house: Path, contract: str, offence: tuple[str, str]) -> None:
    module, imported = offence
    file = house.joinpath(*module.split(".")).with_suffix(".py")
    if not file.exists():
        file = house.joinpath(*module.split("."), "__init__.py")
    clean = file.read_text()
    file.write_text(f"{clean}\nimport {imported}\n")
    try:
        assert broken(house) == [contract]
    finally:
        file.write_text(clean)
