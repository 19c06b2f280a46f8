"""The scanner name whitelist."""

from platform_core.domain.scanners import SCANNERS


def test_scanner_whitelist_is_the_16_of_the_specification() -> None:
    text = """
        semgrep, gitleaks, trivy, trivy-fs, trivy-config,
        trivy-image, trivy-full, nuclei, bandit, gosec,
        brakeman, eslint, tfsec, checkov, grype, dependency
    """
    assert sorted(name.strip() for name in text.split(",")) == sorted(SCANNERS)
    assert len(SCANNERS) == 16
