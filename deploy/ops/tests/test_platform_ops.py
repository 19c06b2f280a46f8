import subprocess
import sys
from pathlib import Path

import jwt
import pytest

from platform_ops import migrate
from platform_stack.processes import free_port

SECRET = "a secret of at least thirty-two bytes"


def platform_ops(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).parent / "platform-ops"
    return subprocess.run([command, *arguments], env=environ, capture_output=True, text=True, check=False)


def test_migrations_go_down_and_up_again(database: str) -> None:
    def applied() -> list[str]:
        return [
            line
            for line in platform_ops("migrate", "status", PLATFORM_DATABASE_URL=database).stdout.split("\n")
            if line.startswith("applied")
        ]

    before = applied()
    assert platform_ops("migrate", "down", PLATFORM_DATABASE_URL=database).stdout == "1 rolled back\n"
    assert applied() == before[:-1]
    assert "missing" in platform_ops("migrate", "status", PLATFORM_DATABASE_URL=database).stdout
    with pytest.raises(migrate.Unmigrated, match="missing: 0000"):
        migrate.wait(database, seconds=0)
    assert platform_ops("migrate", "up", PLATFORM_DATABASE_URL=database).stdout == "1 applied\n"
    assert platform_ops("migrate", "wait", PLATFORM_DATABASE_URL=database).stdout == "nothing is missing\n"
    assert applied() == before


def test_a_database_that_is_not_there_is_waited_for() -> None:
    with pytest.raises(migrate.Unmigrated):
        migrate.wait(f"postgresql://nobody@127.0.0.1:{free_port()}/none", seconds=0)


def test_what_is_secret_is_written_for_its_owner_only(tmp_path: Path) -> None:
    template, out = tmp_path / "envoy.yaml", tmp_path / "rendered.yaml"
    template.write_text("$LISTEN_PORT")
    services = {f"GATEWAY_{name}": "host:1" for name in ("DISPATCHER", "AGENT_HEALTH", "REGISTRATION", "JOB_INTAKE")}
    told = platform_ops("gateway-config", str(template), "--out", str(out), **services)
    assert (told.returncode, told.stdout, out.read_text()) == (0, "", "8080")
    assert out.stat().st_mode & 0o777 == 0o600


def test_an_administrators_token_is_printed_alone() -> None:
    claims = jwt.decode(
        platform_ops("token", "--admin", PLATFORM_JWT_SECRET=SECRET).stdout.strip(),
        SECRET,
        algorithms=["HS256"],
        audience="platform-agents",
        issuer="platform",
    )
    assert claims["role"] == "platform_admin"


def test_what_is_missing_is_named() -> None:
    told = platform_ops("migrate", "up")
    assert (told.returncode, told.stderr) == (1, "platform-ops: PLATFORM_DATABASE_URL is missing\n")
    assert "PLATFORM_JWT_SECRET is missing" in platform_ops("token", "--admin").stderr
