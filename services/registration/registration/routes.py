"""The public route and the administrators'. A handler decodes, calls, encodes."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import TypedDict, TypeVar
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from platform_core.domain.agents import AgentStatus
from platform_core.domain.errors import NotFound, SystemTenantForbidden
from platform_core.domain.ids import SYSTEM_TENANT, AgentId, TenantId, TokenId
from platform_core.wire import agents as agent_wire
from platform_core.wire import tenants as tenant_wire
from platform_core.wire import tokens as token_wire
from platform_server.kit import auth, clock, pages
from platform_server.kit.bodies import answer, no_content, read
from platform_server.store import agents as agent_store
from platform_server.store import bans as ban_store
from platform_server.store import tenants as tenant_store
from platform_server.store import tokens as token_store
from platform_server.store.connection import Pool, acquire
from registration import agents, bans, enrolment, tenants, tokens
from registration.administrators import Administrator


class State(TypedDict):
    """What the lifespan opens."""

    pool: Pool
    jwt: auth.JwtRules
    rotation_grace: timedelta
