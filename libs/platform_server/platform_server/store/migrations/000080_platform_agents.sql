-- Platform agents and the bootstrap tokens that they register with (specification, "Database Schema").

ALTER TABLE agents ADD COLUMN is_platform_agent BOOLEAN DEFAULT FALSE;
ALTER TABLE agents ADD COLUMN region VARCHAR(50);
-- Platform agents are owned by the System Tenant.
ALTER TABLE agents ADD CONSTRAINT agents_platform_owner
    CHECK (NOT is_platform_agent OR tenant_id = '00000000-0000-0000-0000-000000000001');

CREATE TABLE bootstrap_tokens (
    id UUID PRIMARY KEY,
    token_hash VARCHAR(64) UNIQUE NOT NULL,
    token_prefix VARCHAR(10) NOT NULL,
    description TEXT,
    status VARCHAR(20) DEFAULT 'active',
    max_uses INT DEFAULT 1,
    current_uses INT DEFAULT 0,
    required_capabilities TEXT[],
    required_tools TEXT[],
    required_region VARCHAR(50),
    expires_at TIMESTAMPTZ NOT NULL,
    created_by UUID REFERENCES users(id),
    revoked_by UUID REFERENCES users(id),
    revoked_at TIMESTAMPTZ,
    revoke_reason TEXT,
    created_at TIMESTAMPTZ DEFAULT NOW(),
    updated_at TIMESTAMPTZ DEFAULT NOW(),
    CONSTRAINT bootstrap_tokens_status CHECK (status IN ('active', 'exhausted', 'revoked')),
    CONSTRAINT bootstrap_tokens_uses CHECK (max_uses BETWEEN 1 AND 100 AND current_uses BETWEEN 0 AND max_uses),
    CONSTRAINT bootstrap_tokens_exhausted CHECK (status <> 'exhausted' OR current_uses = max_uses),
    CONSTRAINT bootstrap_tokens_revoked CHECK ((status = 'revoked') = (revoked_at IS NOT NULL)),
    -- 1 to 168 hours; a little more, for the clock runs on between two defaults.
    CONSTRAINT bootstrap_tokens_expiry
        CHECK (expires_at BETWEEN created_at + interval '59 minutes' AND created_at + interval '169 hours')
);
CREATE INDEX bootstrap_tokens_prefix ON bootstrap_tokens (token_prefix);

-- The audit trail of registrations: every attempt, when, from where, and how it ended.
CREATE TABLE bootstrap_token_registrations (
    id         uuid PRIMARY KEY DEFAULT uuidv7(),
    token_id   uuid REFERENCES bootstrap_tokens (id),
    agent_id   uuid,
    agent_name text,
    address    inet,
    outcome    text NOT NULL CHECK (outcome IN ('registered', 'taken_over', 'refused')),
    reason     text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX bootstrap_token_registrations_token ON bootstrap_token_registrations (token_id, id DESC);
