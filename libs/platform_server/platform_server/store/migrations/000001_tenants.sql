-- Tenants, their plans, and the people who act on them.

CREATE TABLE plans (
    name                text PRIMARY KEY,
    max_concurrent_jobs int NOT NULL CHECK (max_concurrent_jobs > 0),
    max_queue_size      int NOT NULL CHECK (max_queue_size > 0),
    submit_rate         int NOT NULL DEFAULT 100 CHECK (submit_rate > 0),
    submit_burst        int NOT NULL DEFAULT 500 CHECK (submit_burst > 0)
);

INSERT INTO plans (name, max_concurrent_jobs, max_queue_size)
VALUES ('free', 2, 10), ('starter', 5, 50), ('pro', 10, 100), ('enterprise', 50, 500);

CREATE TABLE tenants (
    id         uuid PRIMARY KEY,
    name       varchar(100) NOT NULL,
    plan       text NOT NULL REFERENCES plans (name),
    status     text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
    is_system  boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The System Tenant is this one row and no other; an ordinary tenant can never have its id.
    CHECK (is_system = (id = '00000000-0000-0000-0000-000000000001'))
);
CREATE UNIQUE INDEX tenants_one_system ON tenants (is_system) WHERE is_system;

INSERT INTO tenants (id, name, plan, is_system)
VALUES ('00000000-0000-0000-0000-000000000001', 'System Tenant', 'enterprise', true);

CREATE TABLE users (
    id         uuid PRIMARY KEY DEFAULT uuidv7(),
    issuer     text NOT NULL,
    subject    text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (issuer, subject)
);

-- Who did what, from where. It outlives its subjects: no foreign keys.
CREATE TABLE admin_audit (
    id         uuid PRIMARY KEY DEFAULT uuidv7(),
    user_id    uuid NOT NULL,
    action     text NOT NULL,
    subject_id text NOT NULL,
    address    inet,
    detail     json,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
