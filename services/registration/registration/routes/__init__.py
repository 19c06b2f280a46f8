"""What the service answers, as data: the public registration and what administrators may do."""

from starlette.routing import Route

from registration.routes import agents, bans, tenants, tokens
from registration.routes.requests import administered

_ADMIN = "/api/v1/admin"
_TOKENS = f"{_ADMIN}/bootstrap-tokens"
_AGENTS = f"{_ADMIN}/platform-agents"
_TENANTS = f"{_ADMIN}/tenants"
_BANS = f"{_ADMIN}/banned-ips"

ROUTES = [
    Route("/api/v1/platform-agents/register", agents.register, methods=["POST"]),
    Route(_TOKENS, administered(tokens.listing), methods=["GET"]),
    Route(_TOKENS, administered(tokens.create), methods=["POST"]),
    Route(_TOKENS + "/{id:uuid}/revoke", administered(tokens.revoke), methods=["POST"]),
    Route(_TOKENS + "/{id:uuid}/registrations", administered(tokens.registrations), methods=["GET"]),
    Route(_AGENTS, administered(agents.listing), methods=["GET"]),
    Route(_AGENTS, administered(agents.create), methods=["POST"]),
    Route(_AGENTS + "/stats", administered(agents.stats), methods=["GET"]),
    Route(_AGENTS + "/{id:uuid}", administered(agents.get), methods=["GET"]),
    Route(_AGENTS + "/{id:uuid}", administered(agents.delete), methods=["DELETE"]),
    Route(_AGENTS + "/{id:uuid}/disable", administered(agents.disable), methods=["POST"]),
    Route(_AGENTS + "/{id:uuid}/enable", administered(agents.enable), methods=["POST"]),
    Route(_AGENTS + "/{id:uuid}/drain", administered(agents.drain), methods=["POST"]),
    Route(_AGENTS + "/{id:uuid}/rotate-key", administered(agents.rotate_key), methods=["POST"]),
    Route(_TENANTS, administered(tenants.listing), methods=["GET"]),
    Route(_TENANTS + "/{id:uuid}", administered(tenants.get), methods=["GET"]),
    Route(_TENANTS + "/{id:uuid}", administered(tenants.put), methods=["PUT"]),
    Route(_TENANTS + "/{id:uuid}", administered(tenants.delete), methods=["DELETE"]),
    Route(_BANS, administered(bans.listing), methods=["GET"]),
    Route(_BANS + "/{ip}", administered(bans.lift), methods=["DELETE"]),
]
