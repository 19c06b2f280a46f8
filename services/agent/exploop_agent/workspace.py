"""Where a scan's files are: a tenant's own folder, or a repository that is cloned for this one job."""

import asyncio
import os
from pathlib import Path
from uuid import UUID

from exploop_agent.network import AddressRefused, checked_addresses
from exploop_agent.scanners import Aim, Scanner
from platform_core.domain.errors import Invalid
from platform_core.domain.targets import GitTarget, ImageTarget, NetworkTarget, PathTarget, parse_target

_CLONE_SECONDS = 600


class TargetRefused(Exception):
    """The job names something that this agent does not scan; the text tells the tenant why."""


async def prepare(
    scanner: Scanner, target: str, *, tenant: UUID, workspace: Path | None, folder: Path, private_allowed: bool
) -> tuple[str, Path | None]:
    """What the scanner is given, and the root that its findings' paths are relative to. Raises TargetRefused."""
    try:
        parsed = parse_target(scanner.name, target)
    except Invalid as error:
        raise TargetRefused(str(error)) from error
    match parsed:
        case PathTarget(path=path) if scanner.aim is Aim.CODE:
            found = path_of(path, tenant=tenant, workspace=workspace)
            return str(found), found if found.is_dir() else found.parent
        case GitTarget() if scanner.aim is Aim.CODE:
            cloned = await _clone(parsed, folder / "repository", private_allowed=private_allowed)
            return str(cloned), cloned
        case NetworkTarget():
            raise TargetRefused("network targets need a scanner whose way out can be pinned to the checked address")
        case ImageTarget():
            raise TargetRefused("image targets need a registry that can be pinned to a checked address")
        case _:
            raise TargetRefused(f"{scanner.name} cannot be aimed at this")


def path_of(path: str, *, tenant: UUID, workspace: Path | None) -> Path:
    """The path inside the tenant's own folder; nothing leads out of it, no symbolic link. Raises TargetRefused."""
    if workspace is None:
        raise TargetRefused("path targets are switched off on this agent")
    root = (workspace / str(tenant)).resolve()
    try:
        found = (root / path).resolve(strict=True)
    except (OSError, ValueError) as error:
        raise TargetRefused("the path does not exist in the tenant's workspace") from error
    if root != found and root not in found.parents:
        raise TargetRefused("the path leads out of the tenant's workspace")
    if any(_leads_out(link, root) for link in _links(found)):
        raise TargetRefused("a symbolic link leads out of the tenant's workspace")
    return found


def _links(found: Path) -> list[Path]:
    """Symbolic links below: scanners follow them."""
    links: list[Path] = []
    for folder, names, files in os.walk(found, followlinks=False):
        links += [Path(folder, name) for name in (*names, *files) if Path(folder, name).is_symlink()]
    return links


def _leads_out(link: Path, root: Path) -> bool:
    end = link.resolve()
    return root != end and root not in end.parents


async def _clone(target: GitTarget, into: Path, *, private_allowed: bool) -> Path:
    """The latest commit only: no submodules, no hooks, no redirects, no credentials, https only."""
    try:
        addresses = await checked_addresses(target.host, private_allowed=private_allowed)
    except AddressRefused as error:
        raise TargetRefused(str(error)) from error
    pinned = f"{target.host}:{target.port}:{addresses[0]}"
    process = await asyncio.create_subprocess_exec(
        "git",
        "-c", "http.followRedirects=false",
        "-c", f"http.curloptResolve={pinned}",
        "-c", "core.hooksPath=/dev/null",
        "-c", "core.symlinks=false",
        "-c", "protocol.allow=never",
        "-c", "protocol.https.allow=always",
        "clone", "--quiet", "--depth", "1", "--no-tags", "--single-branch", "--no-recurse-submodules",
        "--template=", "--", target.url, str(into),
        env=_git_environment(into.parent),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(_CLONE_SECONDS):
            code = await process.wait()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if code != 0:
        raise TargetRefused("the repository cannot be cloned")
    return into


def _git_environment(home: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "GIT_ALLOW_PROTOCOL": "https",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_ASKPASS": "/bin/false",
    }
