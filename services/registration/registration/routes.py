"""The public route and the administrators'. A handler decodes, calls, encodes."""

from datetime import datetime
from uuid import UUID

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from platform_core.domain.agents import AgentStatus
from platform_core.domain.errors import NameTaken, TokenConstraint, TokenInvalid
from platform_core.domain.ids import AgentId, TokenId
from platform_core.wire import agents as wire_agents
from platform_core.wire import tenants as wire_tenants
from platform_core.wire import tokens as wire_tokens
from platform_server.kit import clock, pages
from platform_server.kit.bodies import answer, no_content, read
from platform_server.store import agents as stored_agents
from platform_server.store import bans as stored_bans
from platform_server.store import tenants as stored_tenants
from platform_server.store import tokens as stored_tokens
from platform_server.store.connection import acquire
from registration import agents, bans, enrolment, tenants, tokens
from registration.administrators import Administrator
from registration.requests import (
    Request,
    address_of,
    administered,
    agent_id,
    banned_ip,
    tenant_id,
    token_id,
)
