"""The job queues beside which the platform is measured: in an environment of their own, on the same Postgres server."""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import msgspec

from platform_stack import engines

HERE = Path(__file__).parent
FOLDER = HERE.parent / ".local" / "peers"
LOCK = HERE / "requirements.lock"
NAMES = ("pgqueuer", "procrastinate")


class Peers:
    """Each run gets a database of its own: no peer works on what another left."""

    def __init__(self, postgres: engines.Postgres) -> None:
        self._postgres = postgres

    async def run(self, name: str, what: str, **arguments: float) -> Mapping[str, float | list[float]]:
        """``what``: pickup or lifecycles. Raises CalledProcessError."""
        database = f"{name}_{uuid4().hex[:8]}"
        engines.create_database(self._postgres, database)
        argv = [str(FOLDER / "bin" / "python"), str(HERE / f"peer_{name}.py"), self._postgres.dsn(database), what]
        argv += [f"--{key}={value}" for key, value in arguments.items()]
        process = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
        out, _ = await process.communicate()
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, argv)
        return msgspec.json.decode(out.splitlines()[-1], type=dict[str, float | list[float]])


def install() -> None:
    """Once for a lock."""
    stamp = FOLDER / "installed.lock"
    if stamp.exists() and stamp.read_bytes() == LOCK.read_bytes():
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(FOLDER)], check=True)
    pip = [str(FOLDER / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", str(LOCK)], check=True)
    stamp.write_bytes(LOCK.read_bytes())


def versions() -> dict[str, str]:
    pinned = dict(line.split("==") for line in LOCK.read_text().splitlines() if "==" in line and line[0] != " ")
    return {name: pinned[name].split()[0] for name in NAMES}
