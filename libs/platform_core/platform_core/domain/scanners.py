"""The scanners that a tenant may name (specification, "Scanner Name Whitelist")."""

from typing import Final

SCANNERS: Final = frozenset(
    {
        "semgrep", "gitleaks", "trivy", "trivy-fs", "trivy-config", "trivy-image", "trivy-full", "nuclei",
        "bandit", "gosec", "brakeman", "eslint", "tfsec", "checkov", "grype", "dependency",
    }
)  # fmt: skip
