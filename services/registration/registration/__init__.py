"""Bootstrap tokens, self-registration and the admin endpoints of agents and tenants."""
