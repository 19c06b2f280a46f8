"""platform-stack as it is used: commands, told by STACK_PORT and STACK_DIR which stack is meant."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import jwt
import psutil
import pytest

from platform_core.domain.ids import tenant_id_of_name
from platform_stack.processes import free_port

COMMAND = Path(sys.executable).parent / "platform-stack"
SCANNERS = Path(__file__).parents[3] / ".local" / "scanners"
REPLICAS = {f"{name}-1" for name in ("registration", "job_intake", "dispatcher", "agent_health", "queue_maintenance")}

Environ = Mapping[str, str]


def environ_of(folder: Path, port: int) -> Environ:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, "STACK_DIR": str(folder), "STACK_PORT": str(port), "SCANNERS_DIR": str(SCANNERS)}


def platform_stack(environ: Environ, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], env=environ, capture_output=True, text=True, check=False, timeout=110)


def said(environ: Environ, *arguments: str) -> str:
    """What a command that succeeds prints."""
    told = platform_stack(environ, *arguments)
    assert told.returncode == 0, told.stderr
    return told.stdout


def refused(environ: Environ, *arguments: str) -> str:
    """What a command that fails says, on stderr and without a traceback."""
    told = platform_stack(environ, *arguments)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("platform-stack: ")
    assert "Traceback" not in told.stderr
    return told.stderr


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environ]:
    """A stack that is up, in the background."""
    environ = environ_of(tmp_path_factory.mktemp("stack"), free_port())
    assert said(environ, "up") == f"The gateway listens at {gateway(environ)}\n"
    yield environ
    assert said(environ, "down") == "stopped\n"


@pytest.fixture
def nothing(tmp_path: Path) -> Environ:
    """A folder in which no stack runs."""
    return environ_of(tmp_path, free_port())


def gateway(environ: Environ) -> str:
    return f"http://127.0.0.1:{environ['STACK_PORT']}"


def processes(environ: Environ) -> dict[str, int]:
    """Name and id of everything that runs."""
    known: dict[str, int] = json.loads(Path(environ["STACK_DIR"], "stack.json").read_text())["processes"]
    return known


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_up_starts_everything_and_two_agents_that_registered_what_is_installed(stack: Environ) -> None:
    assert processes(stack).keys() == REPLICAS | {"postgres", "redis", "gateway", "local-agent-1", "local-agent-2"}
    token = said(stack, "token", "--admin").strip()
    agents = httpx.get(f"{gateway(stack)}/api/v1/admin/platform-agents", headers=bearer(token)).json()["agents"]
    assert {agent["name"]: (agent["status"], agent["region"]) for agent in agents} == {
        "local-agent-1": ("online", "local"),
        "local-agent-2": ("online", "local"),
    }
    assert all({"bandit", "semgrep"} <= set(agent["tools"]) for agent in agents)


def test_up_again_changes_nothing(stack: Environ) -> None:
    before = processes(stack)
    assert said(stack, "up") == f"already up: {gateway(stack)}\n"
    assert processes(stack) == before


def test_status_tells_what_runs_and_whether_it_is_ready(stack: Environ) -> None:
    first, *lines = said(stack, "status").splitlines()
    assert first.split() == ["gateway", gateway(stack)]
    told = {words[0]: words[-1] for words in map(str.split, lines)}
    assert told == {name: "ready" if name in REPLICAS else "running" for name in processes(stack)}


def test_logs_shows_every_log_or_one(stack: Environ) -> None:
    everything, one = said(stack, "logs"), said(stack, "logs", "dispatcher")
    assert {"==> dispatcher-1.log", "==> gateway.log", "==> local-agent-2.log"} <= set(everything.splitlines())
    assert [line for line in one.splitlines() if line.startswith("==>")] == ["==> dispatcher-1.log"]
    assert '"event":"service_started"' in one


def test_token_prints_a_jwt_of_24_hours_and_nothing_else(stack: Environ) -> None:
    told = platform_stack(stack, "token", "--admin")
    assert (told.returncode, told.stderr, told.stdout.count("\n")) == (0, "", 1)
    claims = jwt.decode(told.stdout.strip(), options={"verify_signature": False})
    assert claims["role"] == "platform_admin"
    assert claims["exp"] - claims["iat"] == 24 * 3600


def test_a_tenants_token_makes_the_tenant_sets_its_plan_and_lays_the_sample_into_its_workspace(stack: Environ) -> None:
    admin = said(stack, "token", "--admin").strip()
    tenant = tenant_id_of_name("Acme")
    for plan in ("free", "pro"):
        token = said(stack, "token", "--tenant", "Acme", "--plan", plan).strip()
        claims = jwt.decode(token, options={"verify_signature": False})
        assert (claims["role"], claims["tenant_id"]) == ("tenant", str(tenant))
        assert httpx.get(f"{gateway(stack)}/api/v1/platform-jobs", headers=bearer(token)).status_code == 200
        known = httpx.get(f"{gateway(stack)}/api/v1/admin/tenants/{tenant}", headers=bearer(admin)).json()["tenant"]
        assert (known["name"], known["plan"]) == ("Acme", plan)
    assert Path(stack["STACK_DIR"], "workspace", str(tenant), "sample", "shop", "admin.py").exists()


def test_migrate_status_lists_every_migration_of_the_running_stack(stack: Environ) -> None:
    lines = said(stack, "migrate", "status").splitlines()
    assert {line.split()[0] for line in lines} == {"applied"}
    names = [line.split()[1] for line in lines]
    assert {"000080_platform_agents", "000081_platform_jobs"} <= set(names)
    assert said(stack, "migrate", "up") == "0 applied\n"


def test_migrate_goes_down_and_up_where_it_is_told(nothing: Environ, database: str) -> None:
    there = {**nothing, "PLATFORM_DATABASE_URL": database}
    assert said(there, "migrate", "down") == "1 rolled back\n"
    assert "missing" in said(there, "migrate", "status")
    assert said(there, "migrate", "up") == "1 applied\n"
    assert "missing" not in said(there, "migrate", "status")


def test_a_second_stack_runs_beside_it_and_goes_alone(stack: Environ, nothing: Environ) -> None:
    said(nothing, "up")
    mine = processes(nothing)
    assert not set(mine.values()) & set(processes(stack).values())
    token = said(nothing, "token", "--admin").strip()
    path = "/api/v1/admin/platform-agents"
    assert httpx.get(f"{gateway(nothing)}{path}", headers=bearer(token)).status_code == 200
    assert httpx.get(f"{gateway(stack)}{path}", headers=bearer(token)).status_code == 401
    assert said(nothing, "down") == "stopped\n"
    assert not [name for name, pid in mine.items() if psutil.pid_exists(pid)]
    assert "not ready" not in said(stack, "status")


def test_a_port_that_is_in_use_is_said_and_how_to_choose_another(nothing: Environ) -> None:
    with socket.create_server(("127.0.0.1", int(nothing["STACK_PORT"]))):
        assert f"port {nothing['STACK_PORT']} is in use: choose another with STACK_PORT" in refused(nothing, "up")


@pytest.mark.parametrize("port", ["http", "", "0", "70000"])
def test_a_port_that_is_none_is_said(nothing: Environ, port: str) -> None:
    assert "STACK_PORT" in refused({**nothing, "STACK_PORT": port}, "up")


def test_without_a_stack_the_commands_say_so(nothing: Environ) -> None:
    assert "no stack is up here" in refused(nothing, "token", "--admin")
    assert "PLATFORM_DATABASE_URL" in refused(nothing, "migrate", "status")
    assert said(nothing, "down") == "nothing is up\n"
    told = platform_stack(nothing, "status")
    assert (told.returncode, told.stdout) == (1, "nothing is up\n")
