-- Held jobs whose attempt is over: the agent is gone or silent, the ack deadline passed, or nothing came by
-- hand-out + timeout + 10 minutes. Locked ones are being finished by somebody: the next sweep sees what became of them.
-- name: lock_lost
SELECT
    commands.id, commands.attempt, commands.retry_count,
    CASE
        WHEN agents.deleted_at IS NOT NULL THEN 'agent_deleted'
        WHEN agents.admin_state = 'disabled' THEN 'agent_disabled'
        ELSE 'lost'
    END AS outcome,
    CASE
        WHEN agents.deleted_at IS NOT NULL THEN 'the agent was deleted'
        WHEN agents.admin_state = 'disabled' THEN 'the agent was disabled'
        WHEN commands.auth_token_expires_at < clock_timestamp() THEN 'nothing came in the time the job had'
        WHEN commands.status = 'assigned' AND commands.assigned_at < clock_timestamp() - $2::interval
            THEN 'the agent did not acknowledge it'
        ELSE 'the agent fell silent'
    END AS reason
FROM commands
JOIN agents ON agents.id = commands.platform_agent_id
LEFT JOIN agent_presence ON agent_presence.agent_id = agents.id
WHERE commands.status IN ('assigned', 'running')
    AND (
        agents.deleted_at IS NOT NULL
        OR agents.admin_state = 'disabled'
        OR commands.auth_token_expires_at < clock_timestamp()
        OR (commands.status = 'assigned' AND commands.assigned_at < clock_timestamp() - $2::interval)
        OR coalesce(greatest(agent_presence.last_seen_at, commands.assigned_at), commands.assigned_at)
            < clock_timestamp() - $3::interval
    )
ORDER BY commands.tenant_id, commands.id
LIMIT $1
FOR NO KEY UPDATE OF commands SKIP LOCKED;

-- name: lock_lost_of_offline_agent
SELECT commands.id, commands.attempt, commands.retry_count, 'lost' AS outcome, 'the agent fell silent' AS reason
FROM commands
JOIN agent_presence ON agent_presence.agent_id = commands.platform_agent_id
WHERE commands.platform_agent_id = $1
    AND commands.status IN ('assigned', 'running')
    AND NOT agent_presence.online
ORDER BY commands.tenant_id, commands.id
FOR NO KEY UPDATE OF commands;

-- A cancelled job frees its agent's slot at the latest so long after the cancel.
-- name: free_unconfirmed
WITH late AS (
    SELECT id
    FROM commands
    WHERE slot_held AND status = 'cancelled' AND completed_at < clock_timestamp() - $2::interval
    ORDER BY tenant_id, id
    LIMIT $1
    FOR NO KEY UPDATE SKIP LOCKED
), freed AS (
    UPDATE commands
    SET slot_held = false
    FROM late
    WHERE commands.id = late.id
    RETURNING commands.tenant_id, commands.profile_id, commands.cost, commands.assigned_at, commands.completed_at
), corrected AS (
    INSERT INTO turn_corrections (tenant_id, profile_id, charged, held_seconds)
    SELECT tenant_id, profile_id, cost, extract(epoch FROM completed_at - assigned_at)
    FROM freed
    WHERE cost IS NOT NULL
)
SELECT count(*)::int FROM freed;

-- name: expire_old
WITH old AS (
    SELECT id
    FROM commands
    WHERE status = 'queued' AND queued_at < clock_timestamp() - $2::interval
    ORDER BY tenant_id, id
    LIMIT $1
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE commands
SET status = 'expired', completed_at = clock_timestamp(), error = 'it waited too long in the queue'
FROM old
WHERE commands.id = old.id
RETURNING commands.id, commands.tenant_id, commands.attempt;

-- What people and dashboards read; the claim never does. Only rows whose value changed are written.
-- name: refresh_priorities
WITH stale AS (
    SELECT commands.id, queue_priority(lanes.base, clock_timestamp() - commands.queued_at) AS latest
    FROM commands
    JOIN lanes ON lanes.id = commands.lane_id
    WHERE commands.status = 'queued'
        AND commands.queue_priority <> queue_priority(lanes.base, clock_timestamp() - commands.queued_at)
    LIMIT $1
    FOR NO KEY UPDATE OF commands SKIP LOCKED
)
UPDATE commands
SET queue_priority = stale.latest
FROM stale
WHERE commands.id = stale.id
RETURNING commands.id;

-- name: delete_finished
WITH old AS (
    SELECT id
    FROM commands
    WHERE completed_at < clock_timestamp() - $2::interval AND NOT slot_held
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
DELETE FROM commands USING old WHERE commands.id = old.id RETURNING commands.id;

-- name: delete_old_idempotency_keys
DELETE FROM idempotency_keys WHERE created_at < clock_timestamp() - interval '24 hours';

-- name: delete_expired_agent_keys
DELETE FROM agent_keys WHERE expires_at < clock_timestamp();

-- name: open_jobs
SELECT
    status,
    count(*)::int AS jobs,
    coalesce(extract(epoch FROM clock_timestamp() - min(queued_at)), 0)::float8 AS oldest_seconds
FROM commands
WHERE status IN ('queued', 'assigned', 'running')
GROUP BY status;
