-- What the scheduling rule works on (docs/architecture.md, "The queue"). A column is written by one flow only.

-- A set of capabilities, tools and region that polls offer, interned.
CREATE TABLE profiles (
    id           int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    capabilities text[] NOT NULL,
    tools        text[] NOT NULL,
    region       text NOT NULL,
    UNIQUE (capabilities, tools, region)
);
ALTER TABLE agent_presence ADD CONSTRAINT agent_presence_profile FOREIGN KEY (profile_id) REFERENCES profiles (id);

-- What a job asks of an agent, interned. An empty tool or region means that it asks for none.
CREATE TABLE requirements (
    id               int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    capabilities     text[] NOT NULL,
    tool             text NOT NULL,
    preferred_region text NOT NULL,
    UNIQUE (capabilities, tool, preferred_region)
);

-- Jobs of one tenant, one base priority and the same requirements: a FIFO whose head has the best priority in it.
CREATE TABLE lanes (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id      uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    requirement_id int NOT NULL REFERENCES requirements (id),
    base           int NOT NULL CHECK (base IN (1000, 750, 500, 250)),
    UNIQUE (tenant_id, requirement_id, base)
);

-- The first job of every lane that has one; written by the claim only. What the claim ranks: no more than this, however
-- many jobs wait. ``at`` is ``queued_at`` in seconds since the epoch.
CREATE TABLE lane_heads (
    lane_id        bigint PRIMARY KEY REFERENCES lanes (id) ON DELETE CASCADE,
    tenant_id      uuid NOT NULL,
    requirement_id int NOT NULL,
    base           int NOT NULL,
    queued_at      timestamptz NOT NULL,
    at             double precision NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX lane_heads_requirement ON lane_heads (requirement_id);
CREATE INDEX lane_heads_tenant ON lane_heads (tenant_id);

-- Lanes whose head may be another one: jobs came or went, the oldest of them queued at that time. Left by whoever changed
-- the queue; the claim looks at these lanes again and deletes what it has seen.
CREATE TABLE lane_wakes (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lane_id   bigint NOT NULL,
    queued_at timestamptz NOT NULL
);

ALTER TABLE commands ADD COLUMN lane_id bigint REFERENCES lanes (id) ON DELETE SET NULL;
-- The profile of the agent that holds it, and what the hand-out added to the tenant's turn before the weight.
ALTER TABLE commands ADD COLUMN profile_id int REFERENCES profiles (id);
ALTER TABLE commands ADD COLUMN cost double precision;

CREATE INDEX commands_lane_queue ON commands (lane_id, queued_at, id) WHERE status = 'queued';
CREATE INDEX commands_tenant_queue ON commands (tenant_id, queued_at, id) WHERE status = 'queued';
CREATE INDEX commands_tenant_held ON commands (tenant_id) WHERE status IN ('assigned', 'running');
CREATE INDEX commands_agent_held ON commands (platform_agent_id) WHERE slot_held;
CREATE INDEX commands_queue_age ON commands (queued_at, id) WHERE status = 'queued';

-- Locked by a submission while it counts: the queue limit is exact because submissions of a tenant stand in line here.
CREATE TABLE tenant_queues (
    tenant_id uuid PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE
);

-- Virtual time of a tenant; written by the claim only.
CREATE TABLE tenant_turns (
    tenant_id    uuid PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    turn         double precision NOT NULL,
    -- Did it wait at the last claim, and could it be served but for its cap?
    contending   boolean NOT NULL,
    -- Moving average of how long its jobs hold a slot.
    mean_seconds double precision CHECK (mean_seconds > 0)
) WITH (fillfactor = 50);

-- Virtual time of a profile; written by the claim only; it never goes back.
CREATE TABLE profile_turns (
    profile_id int PRIMARY KEY REFERENCES profiles (id),
    v          double precision NOT NULL
) WITH (fillfactor = 50);

-- The fleet's mean job length; one row, written by the claim only.
CREATE TABLE fleet (
    only_one     boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    mean_seconds double precision NOT NULL CHECK (mean_seconds > 0)
) WITH (fillfactor = 50);
INSERT INTO fleet (mean_seconds) VALUES (60);

-- True lengths of ended attempts, left by whoever ended them; the claim folds them into the turns and deletes them.
CREATE TABLE turn_corrections (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    -- Where it ran; its virtual time bounds the debt.
    profile_id   int REFERENCES profiles (id),
    charged      double precision NOT NULL,
    -- How long the slot was held; NULL refunds the whole charge (the attempt was lost by our fault, or never began).
    held_seconds double precision CHECK (held_seconds >= 0)
);

-- The published priority, for whatever SQL shows or stores of it; a test compares it with the domain's formula.
CREATE FUNCTION queue_priority(base int, waited interval) RETURNS int
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN base + least(greatest(floor(extract(epoch FROM waited) / 6), 0), 500)::int;
