"""The sixteen scanners. What a project brings along to configure its scanner is never read: it may be a program.

The target stands after ``--`` wherever the scanner knows it; it is absolute, or canonical, in any case.
"""

from collections.abc import Mapping
from typing import Final

from exploop_agent.scanners import Aim, Report, Scanner, WayOut, Where

# What trivy learns of one tenant's files stays in memory; only its databases are kept.
_TRIVY: Final = (
    "--quiet", "--timeout", "2h", "--cache-dir", "$cache", "--cache-backend", "memory",
    "--format", "sarif", "--output", "$report", "--", "$target",
)  # fmt: skip
_EVERYTHING: Final = ("--scanners", "vuln,misconfig,secret,license")
_BANDIT: Final = (
    "--quiet", "--ini", "$rules/bandit.ini", "--recursive", "--format", "sarif", "--output", "$report", "--", "$target",
)  # fmt: skip
_SEMGREP: Final = (
    "scan", "--metrics", "off", "--disable-version-check", "--quiet", "--config", "$rules/semgrep.yaml",
    "--no-git-ignore", "--sarif", "--sarif-output", "$report", "--", "$target",
)  # fmt: skip
# helm and kustomize fetch what a project names.
_CHECKOV: Final = (
    "--quiet", "--compact", "--skip-download", "--skip-results-upload", "--skip-framework", "helm", "kustomize",
    "--output", "sarif", "--output-file-path", "$folder",
)  # fmt: skip
# Nothing is resolved: that would build, and so run, whatever the requirements name.
_PIP_AUDIT: Final = (
    "--progress-spinner", "off", "--no-deps", "--disable-pip", "--format", "json", "--output", "$report",
)  # fmt: skip
_GITLEAKS: Final = (
    "dir", "--no-banner", "--redact", "--config", "$rules/gitleaks.toml", "--report-format", "sarif",
    "--report-path", "$report", "--", "$target",
)  # fmt: skip
_GRYPE: Final = ("--quiet", "--output", "sarif", "--file", "$report", "--")
_ESLINT: Final = (
    "--no-config-lookup", "--config", "$rules/eslint.config.mjs", "--no-error-on-unmatched-pattern",
    "--format", "$resource", "--output-file", "$report", "--", "$target",
)  # fmt: skip
# Templates for http only, the rest does not heed a proxy; nothing is called back, nothing is probed around the proxy.
_NUCLEI: Final = (
    "-silent", "-disable-update-check", "-no-interactsh", "-no-stdin", "-no-httpx", "-type", "http",
    "-templates", "$resource", "-proxy", "$proxy", "-proxy-internal", "-sarif-export", "$report", "-target", "$target",
)  # fmt: skip


def _trivy(name: str, *, code: tuple[str, ...] | None = None, image: tuple[str, ...] | None = None) -> Scanner:
    calls: dict[Aim, tuple[str, ...]] = {}
    if code is not None:
        calls |= {Aim.FOLDER: (*code, *_TRIVY), Aim.FILE: (*code, *_TRIVY)}
    if image is not None:
        calls[Aim.IMAGE] = (*image, *_TRIVY)
    return Scanner(
        name,
        "trivy",
        calls,
        way_out=WayOut.VARIABLES,
        findings_exit=frozenset({0}),
        environment="trivy",
        cached=True,
        variables={"TRIVY_DISABLE_TELEMETRY": "true", "TRIVY_SKIP_VERSION_CHECK": "true"},
    )


_ROWS: Final = (
    Scanner("bandit", "bandit", {Aim.FOLDER: _BANDIT, Aim.FILE: _BANDIT}, environment="bandit"),
    # It puts the way from its working directory to the rules before their names.
    Scanner(
        "semgrep",
        "semgrep",
        {Aim.FOLDER: _SEMGREP, Aim.FILE: _SEMGREP},
        environment="semgrep",
        where=Where.RULES,
        # Without a network, asking for its newest version takes longer than to tell its own.
        variables={"SEMGREP_ENABLE_VERSION_CHECK": "0"},
    ),
    Scanner(
        "checkov",
        "checkov",
        # Written so, checkov does not look for a .checkov.yaml in there, which could name Python files for it to load.
        {Aim.FOLDER: (*_CHECKOV, "--directory=$target"), Aim.FILE: (*_CHECKOV, "--file=$target")},
        report_name="results_sarif.sarif",
        environment="checkov",
        # It writes paths from there to the file, less any "../".
        where=Where.TOP,
    ),
    Scanner(
        "dependency",
        "pip-audit",
        {
            Aim.FOLDER: (*_PIP_AUDIT, "--requirement", "$target/requirements.txt"),
            Aim.FILE: (*_PIP_AUDIT, "--requirement", "$target"),
        },
        way_out=WayOut.VARIABLES,
        report=Report.PIP_AUDIT,
        environment="pip-audit",
        needs="requirements.txt",
    ),
    Scanner("gitleaks", "gitleaks", {Aim.FOLDER: _GITLEAKS, Aim.FILE: _GITLEAKS}, environment="gitleaks"),
    _trivy("trivy", code=("filesystem",), image=("image",)),
    _trivy("trivy-fs", code=("filesystem",)),
    _trivy("trivy-config", code=("config",)),
    _trivy("trivy-image", image=("image",)),
    _trivy("trivy-full", code=("filesystem", *_EVERYTHING), image=("image", *_EVERYTHING)),
    Scanner(
        "nuclei",
        "nuclei",
        {Aim.NETWORK: _NUCLEI},
        way_out=WayOut.OPTION,
        findings_exit=frozenset({0}),
        environment="nuclei",
        resource="share/nuclei-templates",
        silent_when_clean=True,
    ),
    # Told to be quiet, gosec leaves no report of a clean project.
    Scanner(
        "gosec",
        "gosec",
        {Aim.FOLDER: ("-fmt", "sarif", "-out", "$report", "--", "$target/...")},
        way_out=WayOut.VARIABLES,
        environment="gosec",
        # No C compiler is run on a project's behalf, nor a toolchain that it names.
        variables={"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"},
    ),
    Scanner(
        "grype",
        "grype",
        {
            Aim.FOLDER: (*_GRYPE, "dir:$target"),
            Aim.FILE: (*_GRYPE, "file:$target"),
            Aim.IMAGE: (*_GRYPE, "registry:$target"),
        },
        way_out=WayOut.VARIABLES,
        findings_exit=frozenset({0}),
        environment="grype",
        cached=True,
        variables={"GRYPE_DB_CACHE_DIR": "$cache", "GRYPE_CHECK_FOR_APP_UPDATE": "false"},
    ),
    Scanner(
        "tfsec",
        "tfsec",
        {
            Aim.FOLDER: (
                "--no-color", "--no-module-downloads", "--format", "sarif", "--out", "$report", "--", "$target",
            ),
        },
        environment="tfsec",
    ),
    Scanner(
        "brakeman",
        "brakeman",
        {
            Aim.FOLDER: (
                "--quiet", "--no-pager", "--config-file", "$rules/brakeman.yml", "--format", "sarif",
                "--output", "$report", "--path", "$target",
            ),
        },
        # 3: warnings; 7: some files could not be read, the report tells of the others.
        findings_exit=frozenset({0, 3, 7}),
        environment="brakeman",
    ),
    Scanner(
        "eslint",
        "eslint",
        {Aim.FOLDER: _ESLINT, Aim.FILE: _ESLINT},
        environment="eslint",
        resource="lib/node_modules/@microsoft/eslint-formatter-sarif/sarif.js",
        # It lints only what lies below its working directory.
        where=Where.TARGET,
    ),
)  # fmt: skip

TABLE: Final[Mapping[str, Scanner]] = {row.name: row for row in _ROWS}
