-- Jobs. The table's name is the one that the platform had before; a job is a row of it.

CREATE TABLE commands (
    id               uuid PRIMARY KEY,
    tenant_id        uuid NOT NULL REFERENCES tenants (id),
    type             text NOT NULL CHECK (type IN ('scan', 'collect', 'health_check')),
    priority         text NOT NULL CHECK (priority IN ('critical', 'high', 'normal', 'low')),
    status           text NOT NULL
        CHECK (status IN ('queued', 'assigned', 'running', 'completed', 'failed', 'cancelled', 'expired')),
    -- json, not jsonb: a tenant gets back exactly the text it sent.
    payload          json NOT NULL CHECK (octet_length(payload::text) <= 1048576),
    capabilities     text[] NOT NULL DEFAULT '{}' CHECK (cardinality(capabilities) <= 50),
    tool             text,
    preferred_region varchar(50),
    timeout_seconds  int NOT NULL DEFAULT 1800 CHECK (timeout_seconds BETWEEN 1 AND 7200),
    progress         int CHECK (progress BETWEEN 0 AND 100),
    message          varchar(1000),
    result           json,
    error            text,
    retry_of         uuid,
    traceparent      text,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    assigned_at      timestamptz,
    started_at       timestamptz,
    completed_at     timestamptz,
    CHECK ((type = 'scan') = (tool IS NOT NULL)),
    CHECK ((status IN ('completed', 'failed', 'cancelled', 'expired')) = (completed_at IS NOT NULL))
);
CREATE INDEX commands_tenant ON commands (tenant_id, id DESC);
CREATE INDEX commands_finished ON commands (completed_at) WHERE completed_at IS NOT NULL;

CREATE TABLE idempotency_keys (
    tenant_id   uuid NOT NULL REFERENCES tenants (id),
    key         varchar(255) NOT NULL,
    body_hash   varchar(64) NOT NULL,
    job_id      uuid NOT NULL,
    -- What the first answer told: the 1-based place; and who had the job, from when on, if it told of an assignment.
    position    int NOT NULL,
    queued_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    agent_id    uuid,
    assigned_at timestamptz,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK ((agent_id IS NULL) = (assigned_at IS NULL)),
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
