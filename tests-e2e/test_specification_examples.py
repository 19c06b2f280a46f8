"""Every curl example of the specification, run as it is written there, through the real gateway."""

import httpx
import pytest
from curl import request_of

CREATE_TOKEN = """
curl -X POST /api/v1/admin/bootstrap-tokens \\
  -H "Authorization: Bearer $ADMIN_TOKEN" \\
  -d '{
    "description": "Production agents - US region",
    "expires_in_hours": 24,
    "max_uses": 10,
    "required_region": "us-east-1",
    "required_capabilities": ["nuclei", "nmap"]
  }'
"""

REGISTER = """
curl -X POST /api/v1/platform-agents/register \\
  -d '{
    "bootstrap_token": "abc123.0123456789abcdef",
    "name": "scanner-us-east-1-01",
    "capabilities": ["nuclei", "nmap", "subfinder"],
    "tools": ["nuclei", "nmap", "subfinder"],
    "region": "us-east-1",
    "max_concurrent": 10,
    "version": "1.0.0"
  }'
"""

SUBMIT = """
curl -X POST /api/v1/platform-jobs \\
  -H "Authorization: Bearer $TENANT_TOKEN" \\
  -d '{
    "type": "scan",
    "priority": "normal",
    "payload": {
      "target": "example.com",
      "tool": "nuclei",
      "templates": ["cves", "exposures"]
    },
    "capabilities": ["nuclei"],
    "preferred_region": "us-east-1"
  }'
"""

POLL = """
curl -X POST /api/v1/platform-agent/poll \\
  -H "X-API-Key: rdv_agent_..." \\
  -d '{
    "capabilities": ["nuclei", "nmap"],
    "tools": ["nuclei", "nmap"],
    "timeout": 30
  }'
"""

ACKNOWLEDGE = """
curl -X POST /api/v1/platform-agent/jobs/{job_id}/ack \\
  -H "X-API-Key: rdv_agent_..." \\
  -H "X-Job-Token: job-specific-token"
"""

PROGRESS = """
curl -X POST /api/v1/platform-agent/jobs/{job_id}/progress \\
  -H "X-API-Key: rdv_agent_..." \\
  -H "X-Job-Token: job-specific-token" \\
  -d '{
    "progress": 50,
    "message": "Scanning 50% complete"
  }'
"""

RESULT = """
curl -X POST /api/v1/platform-agent/jobs/{job_id}/result \\
  -H "X-API-Key: rdv_agent_..." \\
  -H "X-Job-Token: job-specific-token" \\
  -d '{
    "status": "completed",
    "result": {
      "findings": [],
      "summary": "Found 5 vulnerabilities"
    }
  }'
"""

DEPLOYMENT_TOKEN = """
curl -X POST /api/v1/admin/bootstrap-tokens \\
  -H "Authorization: Bearer $ADMIN_TOKEN" \\
  -d '{
    "description": "Production agents",
    "expires_in_hours": 24,
    "max_uses": 10,
    "required_region": "us-east-1"
  }'
"""


class Session:
    """Remembers what the specification says to save, and fills it in where the examples show a placeholder."""

    def __init__(self, gateway: httpx.AsyncClient, variables: dict[str, str]) -> None:
        self.gateway = gateway
        self.variables = variables
        self.placeholders: dict[str, str] = {}

    async def send(self, example: str) -> httpx.Response:
        for placeholder, value in self.placeholders.items():
            example = example.replace(placeholder, value)
        return await self.gateway.send(request_of(self.gateway, example.strip(), self.variables))


@pytest.fixture
def session(gateway: httpx.AsyncClient, admin_token: str, tenant_token: str) -> Session:
    return Session(gateway, {"ADMIN_TOKEN": admin_token, "TENANT_TOKEN": tenant_token})


async def test_the_usage_examples_from_bootstrap_token_to_result(session: Session) -> None:
    created = await session.send(CREATE_TOKEN)
    assert created.status_code == 201, created.text
    token = created.json()["token"]
    raw = created.json()["raw_token"]
    assert token["status"] == "active"
    assert token["token_prefix"] == raw[:6]

    session.placeholders["abc123.0123456789abcdef"] = raw
    registered = await session.send(REGISTER)
    assert registered.status_code == 201, registered.text
    agent = registered.json()["agent"]
    assert agent["is_platform_agent"] is True
    assert registered.json()["api_key"].startswith("rdv_agent_")

    submitted = await session.send(SUBMIT)
    assert submitted.status_code == 201, submitted.text
    answer = submitted.json()
    assert answer["status"] == "queued"
    assert answer["queue"]["position"] == 1
    assert answer["auth_token"]

    session.placeholders["rdv_agent_..."] = registered.json()["api_key"]
    polled = await session.send(POLL)
    assert polled.status_code == 200, polled.text
    (job,) = polled.json()["jobs"]
    assert job["id"] == answer["job"]["id"]
    assert job["type"] == "scan"
    assert job["payload"] == {"target": "example.com", "tool": "nuclei", "templates": ["cves", "exposures"]}
    assert job["timeout"] == 1800
    assert job["tenant_id"] == answer["job"]["tenant_id"]

    session.placeholders["job-specific-token"] = job["auth_token"]
    session.variables["job_id"] = job["id"]
    acknowledged = await session.send(ACKNOWLEDGE)
    assert (acknowledged.status_code, acknowledged.json()["job"]["status"]) == (200, "running")
    progress = await session.send(PROGRESS)
    assert (progress.status_code, progress.json()["cancelled"]) == (200, False)
    finished = await session.send(RESULT)
    assert (finished.status_code, finished.json()["job"]["status"]) == (200, "completed")

    seen = await session.gateway.get(
        f"/api/v1/platform-jobs/{job['id']}",
        headers={"Authorization": f"Bearer {session.variables['TENANT_TOKEN']}"},
    )
    assert seen.json()["job"]["result"] == {"findings": [], "summary": "Found 5 vulnerabilities"}


async def test_the_poll_example_without_a_job_answers_an_empty_list(session: Session) -> None:
    made = await session.gateway.post(
        "/api/v1/admin/platform-agents",
        headers={"Authorization": f"Bearer {session.variables['ADMIN_TOKEN']}"},
        json={"name": "idle-example", "region": "nowhere", "capabilities": ["nuclei", "nmap"], "tools": ["nuclei"]},
    )
    session.placeholders = {"rdv_agent_...": made.json()["api_key"], '"timeout": 30': '"timeout": 1'}
    polled = await session.send(POLL)
    assert (polled.status_code, polled.json()) == (200, {"jobs": []})


async def test_the_deployment_guide_creates_a_token(session: Session) -> None:
    created = await session.send(DEPLOYMENT_TOKEN)
    assert created.status_code == 201, created.text
    assert created.json()["token"]["required_region"] == "us-east-1"
