"""The whole of every rendering: valid for every Kubernetes that has the fields we use, and complete in itself."""

import importlib.resources
import re

import kubernetes_validate
import pytest
from rendering import RENDERED, Manifest, render, workloads

OLDEST = (1, 30)


def versions() -> list[str]:
    """Those whose schemas the validator has."""
    schemas = importlib.resources.files(kubernetes_validate) / "kubernetes-json-schema"
    names = [re.fullmatch(r"v1\.(\d+)\.0-local-strict", entry.name) for entry in schemas.iterdir()]
    minors = sorted(int(match[1]) for match in names if match)
    return [f"1.{minor}" for minor in minors if (1, minor) >= OLDEST]


def test_schemas_are_there_to_be_validated_against() -> None:
    assert "1.30" in versions()
    assert len(versions()) > 5


@pytest.mark.parametrize("version", versions())
@pytest.mark.parametrize("name", RENDERED)
def test_every_manifest_is_valid(name: str, version: str) -> None:
    for manifest in render(name):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_validator_finds_a_field_that_does_not_exist() -> None:
    broken: Manifest = {**render("base")[0], "unheard": "of"}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, versions()[-1], strict=True)


def test_the_overlay_brings_every_secret_and_setting_that_is_named() -> None:
    rendered = render("overlays/dev")
    there = {
        (manifest["kind"], manifest["metadata"]["name"], key)
        for manifest in rendered
        if manifest["kind"] in {"Secret", "ConfigMap"}
        for key in manifest["data"]
    }
    named = {
        ("Secret", reference["name"], reference["key"])
        for workload in workloads("overlays/dev")
        for container in workload.containers
        for variable in container.get("env", [])
        if (reference := variable.get("valueFrom", {}).get("secretKeyRef")) and not reference.get("optional")
    }
    assert len(named) >= 4
    assert named <= there


def test_an_overlay_names_the_tag_of_every_image() -> None:
    images = {container["image"] for workload in workloads("overlays/dev") for container in workload.containers}
    assert all(re.fullmatch(r"[a-z/-]+:v?[a-z0-9.]+", image) and not image.endswith(":latest") for image in images)


def test_the_namespace_enforces_the_restricted_standard() -> None:
    (namespace,) = (manifest for manifest in render("overlays/dev") if manifest["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
