"""Which stack runs in a folder: a lock that its process holds, and what others need to find it."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from platform_stack.processes import StartError

_LOCK = "stack.lock"
_FILE = "stack.json"
_LOOKERS_SECONDS = 2.0


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """``stack.json``: what others need to find a running stack."""

    pid: int
    gateway: str
    database: str
    redis: str
    workspace: str
    processes: dict[str, int]
    internal: dict[str, int]


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """This process runs the folder's stack; the kernel lets go when it dies, however that happens.

    A process id in a file would not do: it is given to a stranger one day. Raises StartError when the folder is taken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("ab") as lock:
        deadline = time.monotonic() + _LOOKERS_SECONDS
        # Who looks takes the lock for an instant.
        while not _taken(lock.fileno()):
            if time.monotonic() > deadline:
                raise StartError(f"a stack runs in {folder} already")
            time.sleep(0.05)
        (folder / _FILE).unlink(missing_ok=True)
        try:
            yield
        finally:
            (folder / _FILE).unlink(missing_ok=True)


def is_claimed(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open("rb") as lock:
            return not _taken(lock.fileno())
    except FileNotFoundError:
        return False


def tell(folder: Path, known: Known) -> None:
    """Everything is ready. Whole or not at all: others read it while it is written."""
    draft = folder / f"{_FILE}.new"
    draft.write_bytes(msgspec.json.format(msgspec.json.encode(known)))
    draft.replace(folder / _FILE)


def find(folder: Path) -> Known | None:
    """The folder's stack, when one runs and is ready."""
    if not is_claimed(folder):
        return None
    try:
        return msgspec.json.decode((folder / _FILE).read_bytes(), type=Known)
    except FileNotFoundError:
        return None


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
