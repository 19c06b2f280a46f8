"""Installs scanners that are Python packages, each into an environment of its own from its own hashed lock."""

import fcntl
import hashlib
import subprocess
import sys
import venv
from importlib.resources import files
from pathlib import Path
from typing import Final

# The environment by the scanner's name.
ENVIRONMENTS: Final = {"bandit": "bandit", "semgrep": "semgrep", "checkov": "checkov", "dependency": "pip-audit"}


class UnknownScanner(Exception):
    """The scanner is not one that is installed from here."""


def install(names: list[str], folder: Path) -> None:
    """Install these scanners, or all; nothing happens for those whose lock has not changed.

    Raises UnknownScanner or subprocess.CalledProcessError.
    """
    for name in names:
        if name not in ENVIRONMENTS:
            raise UnknownScanner(f"{name}: not one of {', '.join(ENVIRONMENTS)}")
    folder.mkdir(parents=True, exist_ok=True)
    # Several stacks, or test runs, may share the folder.
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in names or ENVIRONMENTS:
            _install(ENVIRONMENTS[name], folder)


def _install(environment: str, folder: Path) -> None:
    lock = files(__package__).joinpath(f"locks/{environment}.lock").read_bytes()
    place = folder / environment
    stamp = place / ".installed"
    digest = hashlib.sha256(lock).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return
    sys.stdout.write(f"installing {environment}\n")
    sys.stdout.flush()
    venv.create(place, with_pip=True, clear=True)
    pinned = place / "requirements.lock"
    pinned.write_bytes(lock)
    subprocess.run(
        [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes",
         "-r", pinned],
        check=True,
    )  # fmt: skip
    stamp.write_text(digest)
