-- One acting replica of each worker, and the bans that survive a Redis flush.

CREATE TABLE worker_leases (
    name       text PRIMARY KEY,
    holder     text NOT NULL,
    -- Rises with every change of holder: a paused old holder's writes name an older one and change nothing.
    epoch      bigint NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE banned_ips (
    address      inet PRIMARY KEY,
    banned_until timestamptz NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);
