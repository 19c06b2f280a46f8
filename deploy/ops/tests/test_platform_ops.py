import subprocess
import sys
from pathlib import Path

import jwt
import psycopg

SECRET = "a secret of at least thirty-two bytes"


def platform_ops(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).parent / "platform-ops"
    return subprocess.run([command, *arguments], env=environ, capture_output=True, text=True, check=False)


def test_migrations_go_down_and_up_again(database: str) -> None:
    def tables() -> int:
        with psycopg.connect(database) as connection:
            found = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
            assert found is not None
            return int(found[0])

    before = tables()
    assert platform_ops("migrate", "down", PLATFORM_DATABASE_URL=database).stdout == "1 rolled back\n"
    assert tables() < before
    assert "missing" in platform_ops("migrate", "status", PLATFORM_DATABASE_URL=database).stdout
    assert platform_ops("migrate", "up", PLATFORM_DATABASE_URL=database).stdout == "1 applied\n"
    assert tables() == before


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
