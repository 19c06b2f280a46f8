-- name: intern_profile
INSERT INTO profiles (capabilities, tools, region) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: find_profile
SELECT id FROM profiles WHERE capabilities = $1 AND tools = $2 AND region = $3;

-- One claim at a time in the cell. A statement of its own: the next one must see what was committed under the lock.
-- name: lock
SELECT pg_advisory_xact_lock(7305808869221);

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

-- What the claim needs to know before it ranks: the time, what ended since the last one, the agents that offer, as they
-- stand now (disabled, draining and deleted ones get nothing), every V, and the heads of lanes that somebody touched.
-- name: look
WITH ended AS (
    SELECT id, tenant_id, profile_id, charged, held_seconds FROM turn_corrections ORDER BY id LIMIT 1000
), woken AS (
    SELECT id, lane_id, queued_at FROM lane_wakes ORDER BY id LIMIT 5000
)
SELECT
    coalesce($2::timestamptz, clock_timestamp()) AS now,
    (SELECT mean_seconds FROM fleet) AS fleet_mean,
    (SELECT json_agg(ended ORDER BY id) FROM ended) AS ended,
    (
        SELECT json_agg(corrected)
        FROM (
            SELECT
                tenants.id,
                plans.max_concurrent_jobs AS weight,
                coalesce(tenant_turns.turn, 0) AS turn,
                tenant_turns.mean_seconds
            FROM tenants
            JOIN plans ON plans.name = tenants.plan
            LEFT JOIN tenant_turns ON tenant_turns.tenant_id = tenants.id
            WHERE tenants.id IN (SELECT tenant_id FROM ended)
        ) AS corrected
    ) AS corrected,
    (
        SELECT json_agg(offering)
        FROM (
            SELECT
                agents.id,
                agents.max_concurrent,
                (
                    SELECT count(*) FROM commands WHERE commands.platform_agent_id = agents.id AND commands.slot_held
                )::int AS running,
                agent_presence.profile_id,
                coalesce(agent_presence.online, false) AS online
            FROM agents
            LEFT JOIN agent_presence ON agent_presence.agent_id = agents.id
            WHERE agents.id = ANY ($1::uuid[])
                AND agents.admin_state = 'enabled'
                AND agents.deleted_at IS NULL
                AND agents.is_platform_agent
        ) AS offering
    ) AS offering,
    (SELECT json_agg(profile_turns) FROM profile_turns) AS virtual_times,
    (SELECT array_agg(id) FROM woken) AS wakes,
    (
        SELECT json_agg(lane)
        FROM (
            SELECT lanes.id, lanes.tenant_id, lanes.requirement_id, lanes.base, head.queued_at
            FROM (SELECT lane_id, min(queued_at) AS since FROM woken GROUP BY lane_id) AS touched
            JOIN lanes ON lanes.id = touched.lane_id
            LEFT JOIN lane_heads ON lane_heads.lane_id = lanes.id
            LEFT JOIN LATERAL (
                SELECT commands.queued_at
                FROM commands
                WHERE commands.lane_id = lanes.id
                    AND commands.status = 'queued'
                    -- From where the lane can begin: in front of it there may be many dead index entries.
                    AND commands.queued_at >= least(touched.since, lane_heads.queued_at)
                ORDER BY commands.queued_at, commands.id
                LIMIT 1
            ) AS head ON true
        ) AS lane
    ) AS woken,
    EXISTS (SELECT FROM lane_heads) OR EXISTS (SELECT FROM tenant_turns WHERE contending) AS worth_ranking;

-- The first half of the rule, in SQL (migration 000084): how all tenants stand, and the foremost of them.
-- name: rank
SELECT rank_tenants($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

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
    INSERT INTO tenant_turns (tenant_id, turn, contending, mean_seconds)
    SELECT tenant_id, turn, contending, mean_seconds
    FROM unnest($7::uuid[], $8::double precision[], $9::boolean[], $10::double precision[])
        AS latest (tenant_id, turn, contending, mean_seconds)
    ON CONFLICT (tenant_id) DO UPDATE
    SET turn = excluded.turn, contending = excluded.contending, mean_seconds = excluded.mean_seconds
), virtual_times AS (
    INSERT INTO profile_turns (profile_id, v)
    SELECT profile_id, v FROM unnest($11::int[], $12::double precision[]) AS latest (profile_id, v)
    ON CONFLICT (profile_id) DO UPDATE SET v = excluded.v
), heads AS (
    INSERT INTO lane_heads (lane_id, tenant_id, requirement_id, base, queued_at, at)
    SELECT lanes.id, lanes.tenant_id, lanes.requirement_id, lanes.base, latest.queued_at, extract(epoch FROM latest.queued_at)
    FROM unnest($13::bigint[], $14::timestamptz[]) AS latest (lane_id, queued_at)
    JOIN lanes ON lanes.id = latest.lane_id
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
