"""Registration: the public enrolment of agents, and what administrators do."""

from functools import partial
from http import HTTPMethod, HTTPStatus
from typing import Final

from platform_core.wire import agents, queries, tenants, tokens
from platform_core.wire.base import PageQuery
from platform_core.wire.openapi import Credentials, Operation

_TOKENS: Final = "/api/v1/admin/bootstrap-tokens"
_AGENTS: Final = "/api/v1/admin/platform-agents"
_TENANTS: Final = "/api/v1/admin/tenants"
_BANS: Final = "/api/v1/admin/banned-ips"

_of_tokens = partial(Operation, tag="bootstrap tokens", needs=Credentials.ADMINISTRATOR)
_of_agents = partial(Operation, tag="platform agents", needs=Credentials.ADMINISTRATOR)
_of_tenants = partial(Operation, tag="tenants", needs=Credentials.ADMINISTRATOR)
_of_bans = partial(Operation, tag="banned addresses", needs=Credentials.ADMINISTRATOR)

_ENROLMENT: Final = (
    Operation(
        name="register_agent",
        method=HTTPMethod.POST,
        path="/api/v1/platform-agents/register",
        summary="Register an agent with a bootstrap token; its key is told this once.",
        tag="agent",
        needs=Credentials.NONE,
        request=agents.Register,
        answers={HTTPStatus.CREATED: agents.AgentWithKey},
        refusals=frozenset(
            {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
        ),
    ),
)

_BOOTSTRAP_TOKENS: Final = (
    _of_tokens(
        name="list_bootstrap_tokens",
        method=HTTPMethod.GET,
        path=_TOKENS,
        summary="List bootstrap tokens, newest first.",
        query=queries.TokenQuery,
        answers={HTTPStatus.OK: tokens.TokenList},
    ),
    _of_tokens(
        name="create_bootstrap_token",
        method=HTTPMethod.POST,
        path=_TOKENS,
        summary="Create a bootstrap token; it is told this once.",
        request=tokens.CreateToken,
        answers={HTTPStatus.CREATED: tokens.TokenCreated},
    ),
    _of_tokens(
        name="revoke_bootstrap_token",
        method=HTTPMethod.POST,
        path=f"{_TOKENS}/{{id}}/revoke",
        summary="Revoke a bootstrap token; doing it again changes nothing.",
        request=tokens.RevokeToken,
        answers={HTTPStatus.OK: tokens.TokenAnswer},
    ),
    _of_tokens(
        name="list_registrations",
        method=HTTPMethod.GET,
        path=f"{_TOKENS}/{{id}}/registrations",
        summary="The audit trail: every attempt to register with the token.",
        query=PageQuery,
        answers={HTTPStatus.OK: tokens.RegistrationList},
    ),
)

_PLATFORM_AGENTS: Final = (
    _of_agents(
        name="list_agents",
        method=HTTPMethod.GET,
        path=_AGENTS,
        summary="List platform agents, newest first.",
        query=queries.AgentQuery,
        answers={HTTPStatus.OK: agents.AgentList},
    ),
    _of_agents(
        name="create_agent",
        method=HTTPMethod.POST,
        path=_AGENTS,
        summary="Make an agent without a bootstrap token; its key is told this once.",
        request=agents.CreateAgent,
        answers={HTTPStatus.CREATED: agents.AgentWithKey},
        refusals=frozenset({HTTPStatus.CONFLICT}),
    ),
    _of_agents(
        name="agent_stats",
        method=HTTPMethod.GET,
        path=f"{_AGENTS}/stats",
        summary="Totals by status and region; slots in all, taken and free.",
        answers={HTTPStatus.OK: agents.AgentStats},
    ),
    _of_agents(
        name="get_agent",
        method=HTTPMethod.GET,
        path=f"{_AGENTS}/{{id}}",
        summary="An agent and the jobs that it holds.",
        answers={HTTPStatus.OK: agents.AgentWithJobs},
    ),
    _of_agents(
        name="delete_agent",
        method=HTTPMethod.DELETE,
        path=f"{_AGENTS}/{{id}}",
        summary="Delete an agent: its key is dead, its jobs go back, its name is free.",
        answers={HTTPStatus.NO_CONTENT: None},
    ),
    _of_agents(
        name="disable_agent",
        method=HTTPMethod.POST,
        path=f"{_AGENTS}/{{id}}/disable",
        summary="Disable an agent: its key is refused at once, its jobs go back.",
        request=agents.DisableAgent,
        answers={HTTPStatus.OK: agents.AgentAnswer},
    ),
    _of_agents(
        name="enable_agent",
        method=HTTPMethod.POST,
        path=f"{_AGENTS}/{{id}}/enable",
        summary="Enable an agent; this ends a drain too.",
        answers={HTTPStatus.OK: agents.AgentAnswer},
    ),
    _of_agents(
        name="drain_agent",
        method=HTTPMethod.POST,
        path=f"{_AGENTS}/{{id}}/drain",
        summary="Drain an agent: nothing new, what runs is finished.",
        answers={HTTPStatus.OK: agents.AgentAnswer},
        refusals=frozenset({HTTPStatus.CONFLICT}),
    ),
    _of_agents(
        name="rotate_agent_key",
        method=HTTPMethod.POST,
        path=f"{_AGENTS}/{{id}}/rotate-key",
        summary="Give an agent a new key; the old one stays valid for a grace period.",
        answers={HTTPStatus.OK: agents.AgentWithKey},
    ),
)

_TENANTS_AND_BANS: Final = (
    _of_tenants(
        name="list_tenants",
        method=HTTPMethod.GET,
        path=_TENANTS,
        summary="List tenants, newest first.",
        query=PageQuery,
        answers={HTTPStatus.OK: tenants.TenantList},
    ),
    _of_tenants(
        name="get_tenant",
        method=HTTPMethod.GET,
        path=f"{_TENANTS}/{{id}}",
        summary="A tenant, and its usage against its plan's limits.",
        answers={HTTPStatus.OK: tenants.TenantAnswer},
    ),
    _of_tenants(
        name="put_tenant",
        method=HTTPMethod.PUT,
        path=f"{_TENANTS}/{{id}}",
        summary="Make a tenant of the identity provider known here, or change its plan or status.",
        request=tenants.PutTenant,
        answers={HTTPStatus.OK: tenants.TenantAnswer, HTTPStatus.CREATED: tenants.TenantAnswer},
    ),
    _of_tenants(
        name="delete_tenant",
        method=HTTPMethod.DELETE,
        path=f"{_TENANTS}/{{id}}",
        summary="End a tenant's jobs and remove its data; the audit trail stays.",
        answers={HTTPStatus.NO_CONTENT: None},
    ),
    _of_bans(
        name="list_banned_ips",
        method=HTTPMethod.GET,
        path=_BANS,
        summary="Who is banned, until when.",
        query=PageQuery,
        answers={HTTPStatus.OK: tenants.BannedIpList},
    ),
    _of_bans(
        name="lift_ban",
        method=HTTPMethod.DELETE,
        path=f"{_BANS}/{{ip}}",
        summary="Lift a ban.",
        answers={HTTPStatus.NO_CONTENT: None},
    ),
)

REGISTRATION: Final = (*_ENROLMENT, *_BOOTSTRAP_TOKENS, *_PLATFORM_AGENTS, *_TENANTS_AND_BANS)
