"""Targets that are files: a tenant's own folder, or a repository over https."""

import asyncio
import subprocess
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from exploop_agent import workspace
from exploop_agent.process import Limits
from exploop_agent.proxy import filtering_proxy
from exploop_agent.scanners import Aim, Target
from exploop_agent.workspace import TargetRefused
from platform_core.domain.targets import GitTarget

OURS, THEIRS = UUID(int=7), UUID(int=8)
LIMITS = Limits(seconds=30, memory_bytes=2**30)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for tenant in (OURS, THEIRS):
        (tmp_path / str(tenant) / "src").mkdir(parents=True)
        (tmp_path / str(tenant) / "src" / "a.py").touch()
    return tmp_path


async def test_a_folder_and_a_file_of_the_tenant_are_targets(root: Path) -> None:
    ours = root / str(OURS)
    folder = await workspace.of_path("src", tenant=OURS, workspace=root)
    assert folder == Target(Aim.FOLDER, str(ours / "src"), root=ours / "src")
    file = await workspace.of_path("src/a.py", tenant=OURS, workspace=root)
    assert file == Target(Aim.FILE, str(ours / "src" / "a.py"), root=ours / "src")
    whole = await workspace.of_path(".", tenant=OURS, workspace=root)
    assert whole.text == str(ours)


@pytest.mark.parametrize("path", ["..", "../", f"../{THEIRS}", f"src/../../{THEIRS}/src", "/", "/etc/passwd"])
def test_no_path_leads_out_of_the_tenant_s_folder(root: Path, path: str) -> None:
    with pytest.raises(TargetRefused, match="leads out"):
        workspace.path_of(path, tenant=OURS, workspace=root)


@pytest.mark.parametrize("path", ["nowhere", "src/a.py/b", "a\0b", "x" * 5000])
def test_a_path_that_does_not_exist_is_refused(root: Path, path: str) -> None:
    with pytest.raises(TargetRefused, match="does not exist"):
        workspace.path_of(path, tenant=OURS, workspace=root)


@pytest.mark.parametrize("end", ["/etc", f"../../{THEIRS}/src", "../../nowhere", "/etc/passwd"])
@pytest.mark.parametrize("path", ["src", "src/deep", "."])
def test_a_symbolic_link_out_of_the_folder_refuses_whatever_contains_it(root: Path, end: str, path: str) -> None:
    (root / str(OURS) / "src" / "deep" / "er").mkdir(parents=True)
    (root / str(OURS) / "src" / "deep" / "er" / "link").symlink_to(end if end.startswith("/") else f"../../{end}")
    with pytest.raises(TargetRefused, match="symbolic link leads out"):
        workspace.path_of(path, tenant=OURS, workspace=root)


def test_a_link_that_is_the_target_may_not_lead_out_either(root: Path) -> None:
    (root / str(OURS) / "link").symlink_to("/etc")
    with pytest.raises(TargetRefused, match="leads out"):
        workspace.path_of("link", tenant=OURS, workspace=root)


def test_a_link_that_stays_inside_is_fine(root: Path) -> None:
    (root / str(OURS) / "src" / "again").symlink_to("a.py")
    (root / str(OURS) / "top").symlink_to(".")
    assert workspace.path_of("src", tenant=OURS, workspace=root).name == "src"
    assert workspace.path_of("top", tenant=OURS, workspace=root) == root / str(OURS)


def test_path_targets_are_off_unless_a_workspace_is_set() -> None:
    with pytest.raises(TargetRefused, match="switched off"):
        workspace.path_of("src", tenant=OURS, workspace=None)


def test_a_tenant_without_a_folder_has_no_paths(root: Path) -> None:
    with pytest.raises(TargetRefused, match="does not exist"):
        workspace.path_of(".", tenant=UUID(int=9), workspace=root)


TARGET = GitTarget("https://code.example/a/b.git", "code.example", 443)


def test_git_is_held_to_https_and_the_proxy(tmp_path: Path) -> None:
    argv = workspace.clone_command(TARGET, tmp_path / "repository", proxy="http://127.0.0.1:1")
    options = {
        argv[n + 1].partition("=")[0]: argv[n + 1].partition("=")[2] for n, word in enumerate(argv) if word == "-c"
    }
    assert options["protocol.allow"] == "never"
    assert options["protocol.https.allow"] == "always"
    assert options["http.proxy"] == "http://127.0.0.1:1"
    assert options["http.followRedirects"] == "false"
    assert options["core.hooksPath"] == "/dev/null"
    assert options["core.symlinks"] == "false"
    assert "--no-recurse-submodules" in argv
    assert argv[-3:] == ["--", TARGET.url, str(tmp_path / "repository")]


@pytest.mark.parametrize(
    "url", ["file://{repository}", "ext::sh -c touch% {mark}", "{repository}", "git://127.0.0.1/x"]
)
async def test_git_fetches_nothing_but_https(tmp_path: Path, url: str) -> None:
    """Intake and the target's parser refuse these before; git would too."""
    repository, mark, into = tmp_path / "there", tmp_path / "mark", tmp_path / "job" / "here"
    _commit(repository)
    into.parent.mkdir()
    target = GitTarget(url.format(repository=repository, mark=mark), "code.example", 443)
    with pytest.raises(TargetRefused, match="cannot be cloned"):
        await workspace.clone(target, into, proxy="http://127.0.0.1:1", limits=LIMITS)
    assert not [file for file in (mark, into / ".git" / "HEAD") if file.exists()]


async def test_git_goes_by_the_proxy_to_the_address_that_was_judged(tmp_path: Path) -> None:
    asked: list[str] = []

    async def judge(host: str) -> Any:
        asked.append(host)
        return [ip_address("127.0.0.1")]

    closed = GitTarget("https://code.example:1/a.git", "code.example", 1)
    async with filtering_proxy(judge) as proxy:
        with pytest.raises(TargetRefused, match="cannot be cloned"):
            await workspace.clone(closed, tmp_path / "repository", proxy=proxy, limits=LIMITS)
    assert asked == ["code.example"]


async def test_cancelling_a_clone_leaves_no_process_of_it(
    tmp_path: Path, until: Callable[..., Any], still_alive: Callable[[Path], list[int]]
) -> None:
    """The far side never answers; git's own helper process hangs there."""
    heard = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set()
        await reader.read()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    cloning = asyncio.create_task(workspace.clone(TARGET, tmp_path / "repository", proxy=proxy, limits=LIMITS))
    await heard.wait()
    (tmp_path / "numbers").write_text(" ".join(map(str, _processes_in(tmp_path))))
    assert len(still_alive(tmp_path / "numbers")) >= 2
    cloning.cancel()
    await asyncio.gather(cloning, return_exceptions=True)
    await until(lambda: not still_alive(tmp_path / "numbers"), seconds=1)
    server.close()


def _processes_in(folder: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if (entry / "cwd").resolve() in {folder, folder / "repository"}:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def _commit(repository: Path) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
    subprocess.run(
        ["git", "-C", str(repository), *identity, "commit", "--quiet", "--allow-empty", "-m", "one"], check=True
    )
