-- Agents as they were before platform agents: what an administrator says of them, and what they said of themselves.

CREATE TABLE agents (
    id             uuid PRIMARY KEY,
    tenant_id      uuid NOT NULL REFERENCES tenants (id),
    name           varchar(100) NOT NULL,
    -- Written by administrators only. Presence is agent_presence.online; the status people see is made of both.
    admin_state    text NOT NULL DEFAULT 'enabled' CHECK (admin_state IN ('enabled', 'draining', 'disabled')),
    capabilities   text[] NOT NULL DEFAULT '{}' CHECK (cardinality(capabilities) <= 50),
    tools          text[] NOT NULL DEFAULT '{}' CHECK (cardinality(tools) <= 50),
    labels         text[] NOT NULL DEFAULT '{}' CHECK (cardinality(labels) <= 50),
    max_concurrent int NOT NULL DEFAULT 1 CHECK (max_concurrent BETWEEN 1 AND 100),
    version        varchar(50),
    hostname       varchar(255),
    disable_reason varchar(500),
    created_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_at     timestamptz
);
-- A deleted agent's name is free again.
CREATE UNIQUE INDEX agents_live_name ON agents (tenant_id, name) WHERE deleted_at IS NULL;

-- Keys are SHA-256 only. An agent has one key, or two while a rotation overlaps.
CREATE TABLE agent_keys (
    key_hash     varchar(64) PRIMARY KEY CHECK (key_hash ~ '^[0-9a-f]{64}$'),
    agent_id     uuid NOT NULL REFERENCES agents (id),
    key_prefix   varchar(20) NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at   timestamptz,
    last_used_at timestamptz
);
CREATE INDEX agent_keys_agent ON agent_keys (agent_id);

-- What changes all the time stands apart from the row that foreign keys point to.
CREATE TABLE agent_presence (
    agent_id        uuid PRIMARY KEY REFERENCES agents (id),
    -- Written by agent_health only.
    online          boolean NOT NULL DEFAULT false,
    -- Any sign of life: a heartbeat, a held poll, progress.
    last_seen_at    timestamptz,
    -- The profile that its latest poll offered; written by the dispatcher only.
    profile_id      int,
    cpu_percent     real,
    memory_percent  real,
    disk_percent    real
) WITH (fillfactor = 50);
CREATE INDEX agent_presence_online ON agent_presence (last_seen_at) WHERE online;
