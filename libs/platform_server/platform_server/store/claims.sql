-- name: intern_profile
INSERT INTO profiles (capabilities, tools, region) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: find_profile
SELECT id FROM profiles WHERE capabilities = $1 AND tools = $2 AND region = $3;

-- One claim at a time in the cell, and nobody who would come between: the lock of a transaction. A statement of its own: the
-- next one must see what was committed under the lock.
-- name: lock
SELECT pg_advisory_xact_lock(7305808869221);

-- The claim's own is the session's. Each statement inside of `begin_claim` sees what was committed before it.
-- name: lock_and_begin
SELECT begin_claim($1, $2, $3, $4, $5, $6, $7) FROM pg_advisory_lock(7305808869221);

-- All of them: a claim that was tried twice has locked twice.
-- name: unlock
SELECT pg_advisory_unlock_all();

-- S_g of every profile: the slots of the agents that are there.
-- name: slots
SELECT agent_presence.profile_id, sum(agents.max_concurrent)::int AS slots
FROM agent_presence
JOIN agents ON agents.id = agent_presence.agent_id
WHERE agents.admin_state = 'enabled'
    AND agents.deleted_at IS NULL
    AND agent_presence.profile_id IS NOT NULL
    AND agent_presence.online
GROUP BY agent_presence.profile_id;

-- All that the claim reads before it decides (migration 000088): what ended is folded in, touched lanes are looked at again, and
-- the tenants are ranked by the first half of the rule.
-- name: begin
SELECT begin_claim($1, $2, $3, $4, $5, $6, $7);

-- More jobs of the same lanes, when a batch has used up those that `rank` gave.
-- name: deeper
SELECT job.lane_id, job.id, job.attempt, job.queued_at
FROM unnest($1::bigint[], $2::timestamptz[], $3::int[]) AS lane (id, queued_at, depth)
CROSS JOIN LATERAL (
    SELECT commands.lane_id, commands.id, commands.attempt, commands.queued_at
    FROM commands
    WHERE commands.lane_id = lane.id AND commands.status = 'queued' AND commands.queued_at >= lane.queued_at
    ORDER BY commands.queued_at, commands.id
    LIMIT lane.depth
) AS job
ORDER BY job.queued_at, job.id;

-- All that the claim writes, in one statement. Rows of jobs are locked in one order before any is written; a job that was
-- cancelled or expired meanwhile is left out. No other part reads another.
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
), turns AS (
    INSERT INTO tenant_turns AS present (tenant_id, turn, contending, mean_seconds)
    SELECT tenant_id, turn, contending, mean_seconds
    FROM unnest($7::uuid[], $8::double precision[], $9::boolean[], $10::double precision[])
        AS latest (tenant_id, turn, contending, mean_seconds)
    ON CONFLICT (tenant_id) DO UPDATE
    SET turn = excluded.turn, contending = excluded.contending, mean_seconds = excluded.mean_seconds
    WHERE (present.turn, present.contending, present.mean_seconds)
        IS DISTINCT FROM (excluded.turn, excluded.contending, excluded.mean_seconds)
), virtual_times AS (
    INSERT INTO profile_turns (profile_id, v)
    SELECT profile_id, v FROM unnest($11::int[], $12::double precision[]) AS latest (profile_id, v)
    ON CONFLICT (profile_id) DO UPDATE SET v = excluded.v
), heads AS (
    INSERT INTO lane_heads (lane_id, tenant_id, requirement_id, base, queued_at, at)
    SELECT lanes.id, lanes.tenant_id, lanes.requirement_id, lanes.base, latest.queued_at, extract(epoch FROM latest.queued_at)
    FROM unnest($13::bigint[], $14::timestamptz[]) AS latest (lane_id, queued_at)
    JOIN lanes ON lanes.id = latest.lane_id
    -- By their numbers: of how many heads there are, a plan that is kept knows nothing, and would read all lanes.
    WHERE lanes.id = ANY ($13::bigint[])
    ON CONFLICT (lane_id) DO UPDATE SET queued_at = excluded.queued_at, at = excluded.at
), emptied AS (
    DELETE FROM lane_heads WHERE lane_id = ANY ($15::bigint[])
), folded AS (
    DELETE FROM turn_corrections WHERE id = ANY ($16::bigint[])
), looked AS (
    DELETE FROM lane_wakes WHERE id = ANY ($17::bigint[])
), mean AS (
    UPDATE fleet SET mean_seconds = $18 WHERE mean_seconds <> $18
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

-- A job that was cancelled under the claim's hands is not charged.
-- name: give_back
UPDATE tenant_turns
SET turn = tenant_turns.turn - charged.turns
FROM unnest($1::uuid[], $2::double precision[]) AS charged (tenant_id, turns)
WHERE tenant_turns.tenant_id = charged.tenant_id;
