"""Who may call the administrators' routes."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from httpx import AsyncClient
from starlette.routing import Route

from platform_core.wire.operations.registration import REGISTRATION
from registration.routes import ROUTES
from world import bearer

ADMINISTERED = [
    (method, route.path.replace("{id:uuid}", str(UUID(int=7))).replace("{ip}", "203.0.113.7"))
    for route in ROUTES
    if route.path.startswith("/api/v1/admin/")
    for method in sorted((route.methods or set()) - {"HEAD"})
]


def test_the_routes_are_those_of_the_published_document() -> None:
    served = {
        (method, route.path.replace(":uuid", "")) for route in ROUTES for method in (route.methods or set()) - {"HEAD"}
    }
    assert served == {(str(operation.method), operation.path) for operation in REGISTRATION}


def test_every_route_but_one_is_the_administrators() -> None:
    assert all(isinstance(route, Route) for route in ROUTES)
    assert len(ADMINISTERED) == len(ROUTES) - 1 == 19


@pytest.mark.parametrize(("method", "path"), ADMINISTERED)
async def test_without_the_right_token_nothing_is_done(public: AsyncClient, method: str, path: str) -> None:
    past = datetime.now(UTC) - timedelta(minutes=1)
    wrong = {
        "none": (None, 401, "unauthenticated"),
        "no bearer": (f"Basic {bearer()}", 401, "unauthenticated"),
        "forged": (f"Bearer {bearer('another secret of thirty-two bytes')}", 401, "unauthenticated"),
        "expired": (f"Bearer {bearer(exp=past)}", 401, "unauthenticated"),
        "another audience": (f"Bearer {bearer(aud='another')}", 401, "unauthenticated"),
        "another issuer": (f"Bearer {bearer(iss='another')}", 401, "unauthenticated"),
        "no subject": (f"Bearer {bearer(sub=None)}", 401, "unauthenticated"),
        "a tenant": (f"Bearer {bearer(role='tenant', tenant_id=str(uuid4()))}", 403, "wrong_role"),
        "the System Tenant": (f"Bearer {bearer(tenant_id=str(UUID(int=1)))}", 403, "system_tenant"),
    }
    for kind, (authorization, status, code) in wrong.items():
        headers = {"Authorization": authorization} if authorization else {}
        refused = await public.request(method, path, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (status, code), kind
        assert refused.headers["content-type"] == "application/problem+json"
