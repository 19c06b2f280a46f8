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

-- All that the claim writes (migration 000089).
-- name: assign_if_queued
SELECT
    id, tenant_id, platform_agent_id AS agent_id, attempt, type, payload::text AS payload, timeout_seconds, traceparent,
    queued_at
FROM assign_if_queued($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19);

-- A whole claim for a single poll, in one round trip (migration 000089).
-- name: claim_for_one
SELECT claim_for_one($1, $2, $3, $4, $5, $6, $7);

-- The tokens of attempts for which the job did not have the hash yet.
-- name: sign
UPDATE commands
SET auth_token_hash = signed.token_hash
FROM unnest($1::uuid[], $2::int[], $3::text[]) AS signed (job, attempt, token_hash)
WHERE commands.id = signed.job AND commands.attempt = signed.attempt AND commands.status = 'assigned';
