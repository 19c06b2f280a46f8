-- Sweeps run under a worker's lease (see leases). They pass over rows that others hold: those are being written by
-- somebody, and the next sweep sees what became of them. Nothing here waits for a lock, so nothing can deadlock.
-- Walks through an index are bounded by statement_timestamp(): clock_timestamp(), which moves on, would be compared row by row.
-- Rows of a batch are looked up as an array: a plan that is kept takes a tenth of the table for what a LIMIT may give.

-- Held jobs whose attempt is over: the agent is gone or silent, the ack deadline passed, or nothing came by
-- hand-out + timeout + 10 minutes, which is when the token ends. While the brake is on, only an administrator's word counts.
-- An agent is silent when agent-health has said so and it was not seen since: our own trouble makes nobody silent.
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
        WHEN commands.auth_token_expires_at <= clock_timestamp() THEN 'nothing came in the time the job had'
        WHEN commands.status = 'assigned' AND commands.assigned_at <= clock_timestamp() - $2::interval
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
        OR (
            NOT EXISTS (SELECT FROM worker_leases WHERE name = 'requeue-brake' AND expires_at > clock_timestamp())
            AND (
                commands.auth_token_expires_at <= clock_timestamp()
                OR (commands.status = 'assigned' AND commands.assigned_at <= clock_timestamp() - $2::interval)
                OR (
                    agent_presence.online IS NOT TRUE
                    AND greatest(agent_presence.last_seen_at, commands.assigned_at) <= clock_timestamp() - $3::interval
                )
            )
        )
    )
ORDER BY commands.tenant_id, commands.id
LIMIT $1
FOR NO KEY UPDATE OF commands SKIP LOCKED;

-- A cancelled job frees its agent's slot at the latest so long after the cancel.
-- name: free_unconfirmed
WITH late AS (
    SELECT id
    FROM commands
    WHERE slot_held AND status = 'cancelled' AND completed_at <= clock_timestamp() - $2::interval
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
    WHERE status = 'queued' AND is_platform_job AND queued_at <= statement_timestamp() - $2::interval
    ORDER BY queued_at, id
    LIMIT $1
    FOR NO KEY UPDATE SKIP LOCKED
), expired AS (
    UPDATE commands
    SET status = 'expired', completed_at = clock_timestamp(), error = 'no agent took it in the time it may wait'
    WHERE id = ANY (ARRAY(SELECT id FROM old))
    RETURNING id, tenant_id, attempt, lane_id, queued_at
), woken AS (
    INSERT INTO lane_wakes (lane_id, queued_at)
    SELECT lane_id, min(queued_at) FROM expired WHERE lane_id IS NOT NULL GROUP BY lane_id
)
SELECT id, tenant_id, attempt FROM expired;

-- One stretch of the queue, from ($2, $3) on, oldest first. What people and dashboards read; the claim never does. Only
-- rows whose value changed are written. A walk, and not a search for changed rows: that would read the whole queue each time.
-- name: refresh_priorities
WITH stretch AS (
    SELECT commands.id, commands.queued_at, lanes.base
    FROM commands
    JOIN lanes ON lanes.id = commands.lane_id
    WHERE commands.status = 'queued' AND (commands.queued_at, commands.id) > ($2::timestamptz, $3::uuid)
    ORDER BY commands.queued_at, commands.id
    LIMIT $1
), changed AS (
    SELECT commands.id, queue_priority(stretch.base, clock_timestamp() - commands.queued_at) AS latest
    FROM commands
    JOIN stretch ON stretch.id = commands.id
    WHERE commands.id = ANY (ARRAY(SELECT id FROM stretch))
        AND commands.status = 'queued'
        AND commands.queue_priority IS DISTINCT FROM
            queue_priority(stretch.base, clock_timestamp() - commands.queued_at)
    FOR NO KEY UPDATE OF commands SKIP LOCKED
), refreshed AS (
    UPDATE commands
    SET queue_priority = changed.latest
    FROM changed
    WHERE commands.id = changed.id
    RETURNING commands.id
)
SELECT stretch.queued_at, stretch.id, refreshed.id IS NOT NULL AS refreshed
FROM stretch
LEFT JOIN refreshed ON refreshed.id = stretch.id
ORDER BY stretch.queued_at, stretch.id;

-- Lanes of which the claim does not know the first job: nothing tells it to look, and the head that it keeps is a later
-- one or none. A claim sets heads and deletes wakes in one transaction, so no snapshot has such a lane; if there is one all
-- the same, a write has forgotten its wake.
-- name: wake_forgotten_lanes
INSERT INTO lane_wakes (lane_id, queued_at)
SELECT lanes.id, head.queued_at
FROM lanes
CROSS JOIN LATERAL (
    SELECT commands.queued_at
    FROM commands
    WHERE commands.lane_id = lanes.id AND commands.status = 'queued'
    ORDER BY commands.queued_at, commands.id
    LIMIT 1
) AS head
WHERE NOT EXISTS (
        SELECT FROM lane_heads WHERE lane_heads.lane_id = lanes.id AND lane_heads.queued_at <= head.queued_at
    )
    AND NOT EXISTS (SELECT FROM lane_wakes WHERE lane_wakes.lane_id = lanes.id)
LIMIT $1
RETURNING lane_id;

-- name: delete_old_idempotency_keys
WITH old AS (
    SELECT ctid
    FROM idempotency_keys
    WHERE created_at <= statement_timestamp() - $2::interval
    ORDER BY created_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
DELETE FROM idempotency_keys WHERE ctid = ANY (ARRAY(SELECT ctid FROM old)) RETURNING key;

-- name: delete_expired_agent_keys
DELETE FROM agent_keys WHERE expires_at <= clock_timestamp() RETURNING key_prefix;

-- name: delete_ended_bans
DELETE FROM banned_ips WHERE banned_until <= clock_timestamp() RETURNING address;
