"""Tries docker-compose.yml for real: up, the README's first job through the gateway, its findings, down.

Needs a Docker engine and compose; fails with what is missing. COMPOSE is the command ("docker compose"), COMPOSE_FILES
what it is given, comma-separated. Everything it made is removed, its volumes too: it has a project name of its own.
"""

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
PORT = os.environ.get("GATEWAY_PORT", "18080")
JOB = {"type": "scan", "payload": {"tool": "bandit", "target": "sample"}, "capabilities": ["bandit"]}
SERVICES = ("registration", "job-intake", "dispatcher", "agent-health", "queue-maintenance")
ASK_READY = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9000/readyz', timeout=3).read().decode())"


class Failed(Exception):
    """The platform did not do what it should; the text says what."""


def compose(*arguments: str) -> str:
    """Raises subprocess.CalledProcessError; what the command says goes to our own stderr."""
    files = os.environ.get("COMPOSE_FILES", "docker-compose.yml").split(",")
    command = [*shlex.split(os.environ.get("COMPOSE", "docker compose")), "--project-name", "platform-first-job"]
    argv = [*command, *(word for file in files for word in ("--file", file)), *arguments]
    environ = os.environ | {"GATEWAY_PORT": PORT}
    return subprocess.run(argv, check=True, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True).stdout


def first_job() -> set[str]:
    """The rules that the sample breaks, as bandit found them. Raises Failed or httpx.HTTPError."""
    token = compose("run", "--rm", "-T", "token", "--tenant", "acme", "--plan", "pro").strip()
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{PORT}/api/v1", headers=headers) as client:
        job = _job(client.post("/platform-jobs", json=JOB))
        deadline = time.monotonic() + 120
        while job["status"] not in {"completed", "failed"} and time.monotonic() < deadline:
            time.sleep(0.5)
            job = _job(client.get(f"/platform-jobs/{job['id']}"))
    if job["status"] != "completed":
        raise Failed(f"the job is {job['status']}: {job['error']}")
    return {finding["rule_id"] for finding in job["result"]["findings"]}


def look_at_services() -> None:
    """Ready, and nothing degraded. Raises Failed."""
    for service in SERVICES:
        told = json.loads(compose("exec", "-T", service, "python3", "-c", ASK_READY))
        if told != {"status": "ready", "degraded": []}:
            raise Failed(f"{service}: {told}")


def main() -> int:
    """0: it works; 1: it does not; 2: there is no Docker engine to try it on."""
    try:
        compose("ps")
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"first job: no Docker engine with compose answers: {error}", file=sys.stderr)
        return 2
    try:
        compose("up", "--detach", "--build", "--scale", "dispatcher=2")
        found = first_job()
        if "B602" not in found:
            raise Failed(f"bandit did not find the sample's shell: {found}")
        look_at_services()
    except (Failed, httpx.HTTPError, subprocess.CalledProcessError) as error:
        print(f"first job: {error}", file=sys.stderr)
        return 1
    finally:
        compose("down", "--volumes", "--remove-orphans")
    print(f"first job: {len(found)} rules broken, every service ready, nothing degraded")
    return 0


def _job(answer: httpx.Response) -> dict[str, Any]:
    answer.raise_for_status()
    job: dict[str, Any] = answer.json()["job"]
    return job


if __name__ == "__main__":
    sys.exit(main())
