-- name: intern_profile
INSERT INTO profiles (capabilities, tools, region) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: find_profile
SELECT id FROM profiles WHERE capabilities = $1 AND tools = $2 AND region = $3;

-- One claim at a time in the cell. A statement of its own: the next one must see what was committed under the lock.
-- name: lock
SELECT pg_advisory_xact_lock(7305808869221);

-- name: now
SELECT clock_timestamp();

-- name: fold_corrections
DELETE FROM turn_corrections RETURNING id, tenant_id, profile_id, charged, held_seconds;

-- Tenants that wait or hold, that contended at the last claim, or whose turn is to be corrected. A suspended one is here to
-- be corrected, and so that it contends no more: what it could not have is no credit.
-- name: tenants
SELECT
    tenants.id,
    plans.max_concurrent_jobs AS weight,
    coalesce(tenant_turns.turn, 0) AS turn,
    coalesce(tenant_turns.contending, false) AS contending,
    tenant_turns.mean_seconds,
    tenants.status = 'active' AS active
FROM tenants
JOIN plans ON plans.name = tenants.plan
LEFT JOIN tenant_turns ON tenant_turns.tenant_id = tenants.id
WHERE tenant_turns.contending
    OR tenants.id = ANY ($1::uuid[])
    OR EXISTS (SELECT FROM commands WHERE commands.tenant_id = tenants.id AND commands.status = 'queued')
    OR EXISTS (SELECT FROM commands WHERE commands.tenant_id = tenants.id AND commands.status IN ('assigned', 'running'));

-- The first jobs of every lane of the tenants that wait: no more of a lane than the batch could take.
-- name: queued
SELECT head.id, lanes.tenant_id, lanes.base, lanes.requirement_id, head.queued_at, head.attempt
FROM lanes
CROSS JOIN LATERAL (
    SELECT commands.id, commands.attempt, extract(epoch FROM commands.queued_at)::double precision AS queued_at
    FROM commands
    WHERE commands.lane_id = lanes.id AND commands.status = 'queued'
    ORDER BY commands.queued_at, commands.id
    LIMIT $2
) AS head
WHERE lanes.tenant_id = ANY ($1::uuid[]);

-- name: held
SELECT tenant_id, profile_id, count(*)::int AS jobs
FROM commands
WHERE status IN ('assigned', 'running')
GROUP BY tenant_id, profile_id;

-- The agents that offer, as they stand now: disabled, draining and deleted ones get nothing.
-- name: offering
SELECT
    agents.id,
    agents.max_concurrent,
    (SELECT count(*) FROM commands WHERE commands.platform_agent_id = agents.id AND commands.slot_held)::int AS running
FROM agents
WHERE agents.id = ANY ($1::uuid[])
    AND agents.admin_state = 'enabled'
    AND agents.deleted_at IS NULL
    AND agents.is_platform_agent;

-- S_g: an agent with an open poll is there, even before its first heartbeat.
-- name: slots
SELECT agent_presence.profile_id, sum(agents.max_concurrent)::int AS slots
FROM agent_presence
JOIN agents ON agents.id = agent_presence.agent_id
WHERE agents.admin_state = 'enabled'
    AND agents.deleted_at IS NULL
    AND agent_presence.profile_id IS NOT NULL
    AND (agent_presence.online OR agents.id = ANY ($1::uuid[]))
GROUP BY agent_presence.profile_id;

-- name: profiles
SELECT profiles.id, profiles.capabilities, profiles.tools, profiles.region, coalesce(profile_turns.v, 0) AS v
FROM profiles
LEFT JOIN profile_turns ON profile_turns.profile_id = profiles.id
WHERE profiles.id = ANY ($1::int[]);

-- name: requirements
SELECT id, capabilities, tool, preferred_region FROM requirements WHERE id = ANY ($1::int[]);

-- name: fleet
SELECT mean_seconds FROM fleet;

-- Rows are locked in one order before any is written. A job that was cancelled or expired meanwhile is left out.
-- name: assign_if_queued
WITH wanted AS (
    SELECT job, agent, profile, cost, token_hash
    FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::double precision[], $5::text[])
        AS wanted (job, agent, profile, cost, token_hash)
), locked AS (
    SELECT commands.id
    FROM commands
    WHERE commands.id = ANY ($1::uuid[]) AND commands.status = 'queued'
    ORDER BY commands.tenant_id, commands.id
    FOR NO KEY UPDATE
)
UPDATE commands
SET status = 'assigned',
    platform_agent_id = wanted.agent,
    profile_id = wanted.profile,
    cost = wanted.cost,
    attempt = commands.attempt + 1,
    slot_held = true,
    assigned_at = $6::timestamptz,
    started_at = NULL,
    progress = NULL,
    message = NULL,
    auth_token_hash = wanted.token_hash,
    auth_token_expires_at = $6::timestamptz + commands.timeout_seconds * interval '1 second' + interval '10 minutes'
FROM wanted
JOIN locked ON locked.id = wanted.job
WHERE commands.id = wanted.job
RETURNING
    commands.id, commands.tenant_id, commands.platform_agent_id, commands.attempt, commands.type,
    commands.payload::text AS payload, commands.timeout_seconds, commands.traceparent, commands.queued_at;

-- name: write_turns
INSERT INTO tenant_turns (tenant_id, turn, contending, mean_seconds)
SELECT tenant, turn, contending, mean
FROM unnest($1::uuid[], $2::double precision[], $3::boolean[], $4::double precision[])
    AS latest (tenant, turn, contending, mean)
ON CONFLICT (tenant_id) DO UPDATE
SET turn = excluded.turn, contending = excluded.contending, mean_seconds = excluded.mean_seconds;

-- name: write_virtual_times
INSERT INTO profile_turns (profile_id, v)
SELECT profile, v FROM unnest($1::int[], $2::double precision[]) AS latest (profile, v)
ON CONFLICT (profile_id) DO UPDATE SET v = excluded.v;

-- name: write_fleet
UPDATE fleet SET mean_seconds = $1;
