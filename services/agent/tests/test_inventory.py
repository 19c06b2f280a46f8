"""What `collect` and `health_check` jobs tell."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from exploop_agent import inventory

KINDS = ("host", "tools", "versions")


@pytest.mark.parametrize("kinds", [(), *((kind,) for kind in KINDS), KINDS])
async def test_what_is_asked_for_is_told_and_everything_if_nothing_is(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    told = await inventory.collect(kinds, tools={}, state=tmp_path)
    assert set(told) == set(kinds or KINDS)


async def test_the_host_is_this_machine(tmp_path: Path) -> None:
    told: Any = (await inventory.collect(("host",), tools={}, state=tmp_path))["host"]
    assert told["memory_bytes"] == psutil.virtual_memory().total
    assert told["disk_free_bytes"] > 0
    assert told["system"] == "Linux"


async def test_a_version_is_what_the_binary_says_and_it_is_told_nothing_of_us(
    tmp_path: Path, scanner: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIVER_BOOTSTRAP_TOKEN", "abc123.0123456789abcdef")
    tools = {
        "bandit": scanner("bandit", "print(sys.argv[1], sorted(os.environ))\nprint('more')"),
        "semgrep": scanner("semgrep", "sys.exit(1)"),
        "gitleaks": tmp_path / "gone",
    }
    told = (await inventory.collect(("versions",), tools=tools, state=tmp_path))["versions"]
    assert told == {
        "exploop-agent": "1.0.0",
        "bandit": "--version ['HOME', 'LANG', 'PATH']",
        "semgrep": "does not say",
        "gitleaks": "does not say",
    }


async def test_no_scanner_looks_for_a_newer_version_when_it_is_asked_for_its_own(
    tmp_path: Path, scanner: Callable[..., Path]
) -> None:
    tools = {
        "semgrep": scanner("semgrep", "print(os.environ['SEMGREP_ENABLE_VERSION_CHECK'])"),
        "trivy": scanner("trivy", "print(os.environ['TRIVY_SKIP_VERSION_CHECK'])"),
    }
    told: Any = (await inventory.collect(("versions",), tools=tools, state=tmp_path))["versions"]
    assert (told["semgrep"], told["trivy"]) == ("0", "true")


async def test_an_agent_that_can_work_is_healthy(tmp_path: Path) -> None:
    told = await inventory.health(tools={"bandit": tmp_path}, state=tmp_path)
    checks: Any = told["checks"]
    assert checks["tools_installed"]
    assert checks["state_writable"]
    assert told["healthy"] == all(ok for name, ok in checks.items() if name != "git_installed")


async def test_an_agent_without_scanners_is_not_healthy(tmp_path: Path) -> None:
    told = await inventory.health(tools={}, state=tmp_path)
    assert told["healthy"] is False


def test_usage_is_in_percent(tmp_path: Path) -> None:
    assert all(0 <= percent <= 100 for percent in inventory.usage(tmp_path).values())
