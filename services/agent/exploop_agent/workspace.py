"""Where a scan's files are: a tenant's own folder, or a repository that is cloned for this one job."""

import asyncio
import os
from pathlib import Path
from typing import Final
from uuid import UUID

from exploop_agent import process
from exploop_agent.process import Limits
from exploop_agent.scanners import Aim, Target
from platform_core.domain.targets import GitTarget

_CLONE_SECONDS: Final = 600
_GIT: Final = Path("/usr/bin/git")


class TargetRefused(Exception):
    """The job names something that this agent does not scan; the text tells the tenant why."""


async def of_path(path: str, *, tenant: UUID, workspace: Path | None) -> Target:
    """A file or folder of the tenant's own. Raises TargetRefused."""
    found = await asyncio.to_thread(path_of, path, tenant=tenant, workspace=workspace)
    if found.is_dir():
        return Target(Aim.FOLDER, str(found), root=found)
    return Target(Aim.FILE, str(found), root=found.parent)


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


async def clone(target: GitTarget, into: Path, *, proxy: str, limits: Limits) -> Target:
    """The latest commit of the repository. Raises TargetRefused."""
    try:
        async with asyncio.timeout(_CLONE_SECONDS):
            ended = await process.run(
                clone_command(target, into, proxy=proxy),
                where=into.parent,
                environment=process.minimal_environment(into.parent, binary=_GIT) | _GIT_ENVIRONMENT,
                limits=limits,
            )
    except TimeoutError as error:
        raise TargetRefused("the repository takes too long to clone") from error
    if ended.code != 0:
        raise TargetRefused("the repository cannot be cloned: it does not exist, or is not for everybody to read")
    return Target(Aim.FOLDER, str(into), root=into)


def clone_command(target: GitTarget, into: Path, *, proxy: str) -> list[str]:
    """Https only, by the proxy only: no submodules, hooks, redirects, symbolic links or credentials."""
    options = {
        "http.proxy": proxy,
        "http.followRedirects": "false",
        "core.hooksPath": "/dev/null",
        "core.symlinks": "false",
        "credential.helper": "",
        "protocol.allow": "never",
        "protocol.https.allow": "always",
    }
    return [
        "git",
        *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
        "clone", "--quiet", "--depth", "1", "--no-tags", "--single-branch", "--no-recurse-submodules",
        "--template=", "--", target.url, str(into),
    ]  # fmt: skip


_GIT_ENVIRONMENT: Final = {
    "GIT_ALLOW_PROTOCOL": "https",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ASKPASS": "/bin/false",
}


def _links(found: Path) -> list[Path]:
    """Symbolic links below: scanners follow them."""
    links: list[Path] = []
    for folder, names, files in os.walk(found, followlinks=False):
        links += [Path(folder, name) for name in (*names, *files) if Path(folder, name).is_symlink()]
    return links


def _leads_out(link: Path, root: Path) -> bool:
    end = link.resolve()
    return root != end and root not in end.parents
