"""Environment variables and flags."""

from datetime import timedelta
from pathlib import Path

import pytest

from exploop_agent import settings
from exploop_agent.settings import Settings, SettingsError

URL = {"EXPLOOP_API_URL": "https://api.example"}


def read(environ: dict[str, str], *argv: str) -> Settings:
    return settings.read(settings.parser().parse_args(argv), environ)


def test_the_environment_of_the_specification_configures_an_agent() -> None:
    told = read(
        {
            "EXPLOOP_API_URL": "https://api.exploop.io",
            "REDIVER_BOOTSTRAP_TOKEN": "abc123.0123456789abcdef",
            "AGENT_NAME": "scanner-us-east-1-01",
            "AGENT_REGION": "us-east-1",
            "AGENT_CAPABILITIES": "nuclei,nmap,trivy",
        },
        "--platform",
    )
    assert told.api_url == "https://api.exploop.io"
    assert told.bootstrap_token == "abc123.0123456789abcdef"
    assert (told.name, told.region) == ("scanner-us-east-1-01", "us-east-1")
    assert told.capabilities == ("nuclei", "nmap", "trivy")


def test_what_is_not_told_has_a_default() -> None:
    told = read(URL)
    assert told.name
    assert (told.bootstrap_token, told.region, told.workspace, told.scanners) == (None, None, None, None)
    assert (told.capabilities, told.labels, told.max_concurrent) == ((), (), 1)
    assert (told.drain, told.poll) == (timedelta(seconds=30), timedelta(seconds=60))
    assert told.allow_private_targets is False
    assert told.max_memory_bytes == 2048 * 2**20


def test_the_other_variables_are_heard(tmp_path: Path) -> None:
    told = read(
        URL
        | {
            "AGENT_LABELS": " gpu , big,",
            "AGENT_MAX_CONCURRENT": "4",
            "AGENT_STATE_DIR": str(tmp_path / "state"),
            "AGENT_WORKSPACE": str(tmp_path / "workspace"),
            "AGENT_SCANNERS_DIR": str(tmp_path / "scanners"),
            "AGENT_ALLOW_PRIVATE_TARGETS": "true",
            "AGENT_DRAIN_SECONDS": "1.5",
            "AGENT_POLL_SECONDS": "20",
            "AGENT_MAX_SCANNER_MEMORY_MB": "512",
        }
    )
    assert (told.labels, told.max_concurrent) == (("gpu", "big"), 4)
    assert told.state == tmp_path / "state"
    assert (told.workspace, told.scanners) == (tmp_path / "workspace", tmp_path / "scanners")
    assert told.allow_private_targets is True
    assert (told.drain, told.poll) == (timedelta(seconds=1.5), timedelta(seconds=20))
    assert told.max_memory_bytes == 512 * 2**20


def test_a_flag_wins_over_its_variable(tmp_path: Path) -> None:
    environ = URL | {
        "AGENT_NAME": "a", "AGENT_REGION": "a", "AGENT_CAPABILITIES": "a", "AGENT_LABELS": "a",
        "AGENT_MAX_CONCURRENT": "2", "AGENT_STATE_DIR": "a", "AGENT_WORKSPACE": "a", "AGENT_SCANNERS_DIR": "a",
    }  # fmt: skip
    told = read(
        environ,
        "--api-url", "http://b/", "--name", "b", "--region", "b", "--capabilities", "b", "--labels", "b",
        "--max-concurrent", "3", "--state-dir", str(tmp_path), "--workspace", str(tmp_path),
        "--scanners-dir", str(tmp_path),
    )  # fmt: skip
    assert (told.api_url, told.name, told.region) == ("http://b", "b", "b")
    assert (told.capabilities, told.labels, told.max_concurrent) == (("b",), ("b",), 3)
    assert {told.state, told.workspace, told.scanners} == {tmp_path}


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, "EXPLOOP_API_URL"),
        ({"EXPLOOP_API_URL": "api.example"}, "EXPLOOP_API_URL"),
        ({"EXPLOOP_API_URL": "ftp://api.example"}, "EXPLOOP_API_URL"),
        (URL | {"AGENT_MAX_CONCURRENT": "many"}, "AGENT_MAX_CONCURRENT"),
        (URL | {"AGENT_MAX_CONCURRENT": "0"}, "AGENT_MAX_CONCURRENT"),
        (URL | {"AGENT_POLL_SECONDS": "61"}, "AGENT_POLL_SECONDS"),
        (URL | {"AGENT_DRAIN_SECONDS": "-1"}, "AGENT_DRAIN_SECONDS"),
        (URL | {"AGENT_DRAIN_SECONDS": "nan"}, "AGENT_DRAIN_SECONDS"),
        (URL | {"AGENT_MAX_SCANNER_MEMORY_MB": "1"}, "AGENT_MAX_SCANNER_MEMORY_MB"),
        (URL | {"AGENT_ALLOW_PRIVATE_TARGETS": "yes"}, "AGENT_ALLOW_PRIVATE_TARGETS"),
    ],
)
def test_an_error_names_what_is_missing_or_wrong(environ: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        read(environ)


def test_a_flag_is_held_to_the_same_bounds() -> None:
    with pytest.raises(SettingsError, match="AGENT_MAX_CONCURRENT"):
        read(URL, "--max-concurrent", "0")


def test_there_is_no_flag_for_the_bootstrap_token() -> None:
    assert "token" not in settings.parser().format_usage()
