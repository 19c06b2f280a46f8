-- Every write of an agent about its job is guarded by job, agent, attempt, token hash, state and expiry, and rows are
-- locked in one order (tenant, then job) before any is written.

-- name: ack_if_current_attempt
WITH asked AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[]) AS asked (job, agent, attempt, token_hash)
), locked AS (
    SELECT commands.id
    FROM commands
    JOIN asked ON asked.job = commands.id
    WHERE commands.platform_agent_id = asked.agent
        AND commands.attempt = asked.attempt
        AND commands.auth_token_hash = asked.token_hash
        AND commands.status = 'assigned'
        AND commands.auth_token_expires_at > clock_timestamp()
    ORDER BY commands.tenant_id, commands.id
    FOR NO KEY UPDATE OF commands
)
UPDATE commands
SET status = 'running', started_at = clock_timestamp()
FROM locked
WHERE commands.id = locked.id
RETURNING
    commands.id, commands.tenant_id, commands.type, commands.status, commands.attempt, commands.progress,
    commands.timeout_seconds, commands.assigned_at, commands.started_at, commands.completed_at;

-- name: progress_if_current_attempt
WITH asked AS (
    SELECT *
    FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::int[], $6::text[])
        AS asked (job, agent, attempt, token_hash, progress, message)
), locked AS (
    SELECT commands.id, asked.progress, asked.message
    FROM commands
    JOIN asked ON asked.job = commands.id
    WHERE commands.platform_agent_id = asked.agent
        AND commands.attempt = asked.attempt
        AND commands.auth_token_hash = asked.token_hash
        AND commands.status = 'running'
        AND commands.auth_token_expires_at > clock_timestamp()
    ORDER BY commands.tenant_id, commands.id
    FOR NO KEY UPDATE OF commands
)
UPDATE commands
SET progress = locked.progress, message = coalesce(locked.message, commands.message)
FROM locked
WHERE commands.id = locked.id
RETURNING
    commands.id, commands.tenant_id, commands.type, commands.status, commands.attempt, commands.progress,
    commands.timeout_seconds, commands.assigned_at, commands.started_at, commands.completed_at;

-- name: complete_if_current_attempt
WITH asked AS (
    SELECT *
    FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::text[], $7::text[])
        AS asked (job, agent, attempt, token_hash, status, result, error)
), locked AS (
    SELECT commands.id, asked.status, asked.result, asked.error
    FROM commands
    JOIN asked ON asked.job = commands.id
    WHERE commands.platform_agent_id = asked.agent
        AND commands.attempt = asked.attempt
        AND commands.auth_token_hash = asked.token_hash
        AND commands.status = 'running'
        AND commands.auth_token_expires_at > clock_timestamp()
    ORDER BY commands.tenant_id, commands.id
    FOR NO KEY UPDATE OF commands
), finished AS (
    UPDATE commands
    SET status = locked.status,
        result = locked.result::json,
        error = locked.error,
        progress = CASE locked.status WHEN 'completed' THEN 100 ELSE commands.progress END,
        completed_at = clock_timestamp(),
        slot_held = false
    FROM locked
    WHERE commands.id = locked.id
    RETURNING
        commands.id, commands.tenant_id, commands.type, commands.status, commands.attempt, commands.progress,
        commands.timeout_seconds, commands.assigned_at, commands.started_at, commands.completed_at,
        commands.profile_id, commands.cost
), corrected AS (
    INSERT INTO turn_corrections (tenant_id, profile_id, charged, held_seconds)
    SELECT tenant_id, profile_id, cost, extract(epoch FROM completed_at - assigned_at)
    FROM finished
    WHERE cost IS NOT NULL
)
SELECT id, tenant_id, type, status, attempt, progress, timeout_seconds, assigned_at, started_at, completed_at
FROM finished;

-- What an agent's write ran into, when it changed nothing.
-- name: standing
SELECT
    id, tenant_id, type, status, attempt, progress, timeout_seconds, assigned_at, started_at, completed_at,
    platform_agent_id, auth_token_hash, auth_token_expires_at <= clock_timestamp() AS expired, result::text AS result,
    error
FROM jobs
WHERE id = ANY ($1::uuid[]);

-- Jobs go back to the queue, in front of those that came later: queued_at is kept. The attempt's charge is refunded.
-- name: requeue_if_held_on_attempt
WITH asked AS (
    SELECT *
    FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::int[])
        AS asked (job, attempt, outcome, reason, retries_spent)
), locked AS (
    SELECT commands.id, asked.outcome, asked.reason, asked.retries_spent
    FROM commands
    JOIN asked ON asked.job = commands.id
    WHERE commands.attempt = asked.attempt AND commands.status IN ('assigned', 'running')
    ORDER BY commands.tenant_id, commands.id
    FOR NO KEY UPDATE OF commands
), moved AS (
    UPDATE commands
    SET status = 'queued',
        platform_agent_id = NULL,
        profile_id = NULL,
        cost = NULL,
        slot_held = false,
        assigned_at = NULL,
        started_at = NULL,
        progress = NULL,
        message = NULL,
        retry_count = commands.retry_count + locked.retries_spent,
        attempt_log = commands.attempt_log || jsonb_build_object(
            'attempt', commands.attempt,
            'agent_id', commands.platform_agent_id,
            'assigned_at', commands.assigned_at,
            'ended_at', clock_timestamp(),
            'outcome', locked.outcome,
            'reason', locked.reason
        )
    FROM locked
    WHERE commands.id = locked.id
    RETURNING
        commands.id, commands.tenant_id, commands.attempt, commands.capabilities, commands.tool,
        commands.preferred_region, commands.lane_id, commands.queued_at,
        old.platform_agent_id AS agent, old.profile_id AS profile_id, old.cost AS cost
), woken AS (
    INSERT INTO lane_wakes (lane_id, queued_at)
    SELECT lane_id, min(queued_at) FROM moved WHERE lane_id IS NOT NULL GROUP BY lane_id
), corrected AS (
    INSERT INTO turn_corrections (tenant_id, profile_id, charged, held_seconds)
    SELECT tenant_id, profile_id, cost, NULL
    FROM moved
    WHERE cost IS NOT NULL
)
SELECT id, tenant_id, attempt, capabilities, tool, preferred_region, agent FROM moved;

-- name: fail_if_held_on_attempt
WITH asked AS (
    SELECT * FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[]) AS asked (job, attempt, outcome, reason)
), locked AS (
    SELECT commands.id, asked.outcome, asked.reason
    FROM commands
    JOIN asked ON asked.job = commands.id
    WHERE commands.attempt = asked.attempt AND commands.status IN ('assigned', 'running')
    ORDER BY commands.tenant_id, commands.id
    FOR NO KEY UPDATE OF commands
), failed AS (
    UPDATE commands
    SET status = 'failed',
        error = locked.reason,
        completed_at = clock_timestamp(),
        slot_held = false,
        attempt_log = commands.attempt_log || jsonb_build_object(
            'attempt', commands.attempt,
            'agent_id', commands.platform_agent_id,
            'assigned_at', commands.assigned_at,
            'ended_at', clock_timestamp(),
            'outcome', locked.outcome,
            'reason', locked.reason
        )
    FROM locked
    WHERE commands.id = locked.id
    RETURNING
        commands.id, commands.tenant_id, commands.attempt, commands.platform_agent_id AS agent,
        commands.profile_id, commands.cost
), corrected AS (
    INSERT INTO turn_corrections (tenant_id, profile_id, charged, held_seconds)
    SELECT tenant_id, profile_id, cost, NULL
    FROM failed
    WHERE cost IS NOT NULL
)
SELECT id, tenant_id, attempt, agent FROM failed;

-- name: held_by_agent
SELECT id, attempt FROM commands WHERE platform_agent_id = $1 AND slot_held AND status IN ('assigned', 'running');

-- The agent confirmed that it stopped a cancelled job: its slot is free, the tenant is charged for the time it was held.
-- name: confirm_cancelled
WITH locked AS (
    SELECT id
    FROM commands
    WHERE platform_agent_id = $1 AND id = ANY ($2::uuid[]) AND status = 'cancelled' AND slot_held
    ORDER BY tenant_id, id
    FOR NO KEY UPDATE
), freed AS (
    UPDATE commands
    SET slot_held = false
    FROM locked
    WHERE commands.id = locked.id
    RETURNING commands.id, commands.tenant_id, commands.profile_id, commands.cost, commands.assigned_at,
        commands.completed_at
), corrected AS (
    INSERT INTO turn_corrections (tenant_id, profile_id, charged, held_seconds)
    SELECT tenant_id, profile_id, cost, extract(epoch FROM completed_at - assigned_at)
    FROM freed
    WHERE cost IS NOT NULL
)
SELECT id FROM freed;

-- What an agent that opens its event stream must hear at once.
-- name: cancelled_but_held
SELECT id FROM commands WHERE platform_agent_id = $1 AND status = 'cancelled' AND slot_held;

-- name: holding
SELECT DISTINCT platform_agent_id AS agent FROM commands WHERE platform_agent_id = ANY ($1::uuid[]) AND slot_held;
