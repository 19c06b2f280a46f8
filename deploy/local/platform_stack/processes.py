"""Starting a process that ends with us, waiting until it answers, and stopping it."""

import ctypes
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


class StartError(Exception):
    """A process ended, or did not answer in time; the text has the end of its log."""


# Below the ports that the kernel gives to outgoing connections: nobody takes ours between the choice and the bind,
# nor while a service restarts.
_PORTS: Final = range(15_000, 32_000)


# A port is bound long after it was chosen, and other test runs choose at the same time. Nobody here listens for
# datagrams: a datagram socket of the same number keeps it, for all who ask this way, as long as this process lives.
_kept: Final[list[socket.socket]] = []


def free_port() -> int:
    """A port of the loopback address that nobody listens at, and that no other process is given by this function."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - nothing is secret about it
        with socket.socket() as probe, ExitStack() as unless_kept, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            keeper = unless_kept.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            keeper.bind(("127.0.0.1", port))
            unless_kept.pop_all()
            _kept.append(keeper)
            return port


class Process:
    """One child with a log file. It is killed when its parent dies, however that happens."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        user: int | None = None,
    ) -> None:
        self.name = name
        self._argv = [str(word) for word in argv]
        self._log = log
        self._env = env
        self._user = user
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._popen is not None, f"{self.name} was not started"
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._popen = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user is not None else None,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one prctl call, before any thread exists in the child
            )

    def wait_until(self, ready: Callable[[], bool], *, seconds: float = 30.0) -> None:
        """Raises StartError when the process ends, or is not ready in time."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running or time.monotonic() > deadline:
                raise StartError(f"{self.name} did not start:\n{self.log_tail()}")
            time.sleep(0.05)

    def send(self, number: signal.Signals) -> None:
        if self.running:
            os.kill(self.pid, number)

    def stop(self, *, number: signal.Signals = signal.SIGTERM, seconds: float = 40.0) -> None:
        """Ask it to end; kill it when it does not."""
        if self._popen is None:
            return
        self.send(number)
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        if self._popen is not None:
            self.send(signal.SIGKILL)
            self._popen.wait()

    def log_tail(self, *, lines: int = 20) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:]) if self._log.exists() else ""


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def accepts(port: int) -> bool:
    """Does something listen there?"""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def package_folder(name: str) -> Path:
    """Where a package is. Found, not imported: some make folders and warn when they are imported."""
    spec = find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent
