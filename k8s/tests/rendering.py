"""The manifests as kubectl renders them: the one out of its wheel, so that nothing need be installed beside."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
KUBECTL = Path(sys.executable).parent / "kubectl"
RENDERED = ("base", "overlays/dev")
WORKLOADS = {"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Workload:
    """A workload of one rendering; ``all`` is everything that was rendered with it."""

    rendering: str
    manifest: Manifest
    all: tuple[Manifest, ...]

    @property
    def name(self) -> str:
        name: str = self.manifest["metadata"]["name"]
        return name

    @property
    def kind(self) -> str:
        kind: str = self.manifest["kind"]
        return kind

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = self.manifest["spec"]["template"]["metadata"]["labels"]
        return labels

    @property
    def pod(self) -> Manifest:
        pod: Manifest = self.manifest["spec"]["template"]["spec"]
        return pod

    @property
    def containers(self) -> list[Manifest]:
        return [*self.pod.get("initContainers", []), *self.pod["containers"]]

    @property
    def is_service(self) -> bool:
        return self.labels.get("platform-agents/kind") == "service"

    def others(self, kind: str) -> Iterator[Manifest]:
        return (manifest for manifest in self.all if manifest["kind"] == kind)


@cache
def render(name: str) -> tuple[Manifest, ...]:
    told = subprocess.run([KUBECTL, "kustomize", ROOT / name], check=False, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    return tuple(yaml.safe_load_all(told.stdout))


def workloads(*names: str) -> list[Workload]:
    return [
        Workload(name, manifest, render(name))
        for name in names
        for manifest in render(name)
        if manifest["kind"] in WORKLOADS
    ]
