"""Who may call which route."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from httpx import AsyncClient
from submitting import STATISTICS, TENANTS, Tenant, counted, problem

from job_intake.routes import ROUTES
from platform_core.domain.ids import SYSTEM_TENANT
from platform_core.wire.operations.job_intake import JOB_INTAKE
from world import JWT_SECRET, World, bearer

ACME = str(uuid4())
PUBLIC = {"/api/v1/openapi.json", "/api/docs"}


def of_tenant(secret: str = JWT_SECRET, **claims: object) -> str:
    return bearer(secret, **{"role": "tenant", "tenant_id": ACME, **claims})


def test_the_routes_are_those_of_the_published_document() -> None:
    served = {
        (method, route.path.replace(":uuid", "")) for route in ROUTES for method in (route.methods or set()) - {"HEAD"}
    }
    assert served == {(str(operation.method), operation.path) for operation in JOB_INTAKE}
    assert len(served) == len(TENANTS) + 1 + len(PUBLIC)


async def test_without_a_valid_token_of_the_right_role_nothing_is_done(http: AsyncClient) -> None:
    past = datetime.now(UTC) - timedelta(minutes=1)
    anyone = {
        "none": (None, 401, "unauthenticated"),
        "no bearer": (f"Basic {of_tenant()}", 401, "unauthenticated"),
        "nothing in it": ("Bearer ", 401, "unauthenticated"),
        "no JWT": ("Bearer x.y.z", 401, "unauthenticated"),
        "forged": (f"Bearer {of_tenant(secret='another secret of thirty-two bytes')}", 401, "unauthenticated"),
        "expired": (f"Bearer {of_tenant(exp=past)}", 401, "unauthenticated"),
        "without an end": (f"Bearer {of_tenant(exp=None)}", 401, "unauthenticated"),
        "another audience": (f"Bearer {of_tenant(aud='another')}", 401, "unauthenticated"),
        "another issuer": (f"Bearer {of_tenant(iss='another')}", 401, "unauthenticated"),
        "no subject": (f"Bearer {of_tenant(sub=None)}", 401, "unauthenticated"),
        "another role": (f"Bearer {of_tenant(role='root')}", 401, "unauthenticated"),
        "a tenant's without a tenant": (f"Bearer {of_tenant(tenant_id=None)}", 401, "unauthenticated"),
        "a tenant that is no id": (f"Bearer {of_tenant(tenant_id='acme')}", 401, "unauthenticated"),
        "the System Tenant": (f"Bearer {of_tenant(tenant_id=str(SYSTEM_TENANT))}", 403, "system_tenant"),
    }
    administrator = {"an administrator": (f"Bearer {bearer()}", 403, "wrong_role")}
    unknown = {"a tenant that is not known": (f"Bearer {of_tenant()}", 403, "tenant_unknown")}
    tenants = {"a tenant": (f"Bearer {of_tenant()}", 403, "wrong_role")}
    calls = [*((call, anyone | administrator | unknown) for call in TENANTS), (("GET", STATISTICS), anyone | tenants)]
    for (method, path), wrong in calls:
        for kind, (authorization, status, code) in wrong.items():
            headers = {"Authorization": authorization} if authorization else {}
            before = counted("security_events_total", event_type="security.auth.failure")
            refused = await http.request(method, path, headers=headers)
            assert (kind, refused.status_code, refused.json()["code"]) == (kind, status, code)
            assert counted("security_events_total", event_type="security.auth.failure") == before + 1
            if status == 401:
                assert refused.headers["WWW-Authenticate"] == "Bearer"


async def test_a_suspended_tenant_may_nothing(tenant: Tenant, world: World) -> None:
    await world.execute("UPDATE tenants SET status = 'suspended'")
    for method, path in TENANTS:
        problem(await tenant.call(method, path), 403, "tenant_suspended")


@pytest.mark.parametrize("path", sorted(PUBLIC))
async def test_the_documents_are_for_everybody(http: AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 200
