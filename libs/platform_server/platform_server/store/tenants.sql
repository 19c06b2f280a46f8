-- name: standing
SELECT
    tenants.status,
    tenants.plan,
    plans.max_concurrent_jobs,
    plans.max_queue_size,
    plans.submit_rate,
    plans.submit_burst
FROM tenants
JOIN plans ON plans.name = tenants.plan
WHERE tenants.id = $1 AND NOT tenants.is_system;

-- name: find
SELECT
    tenants.id,
    tenants.name,
    tenants.plan,
    tenants.status,
    plans.max_concurrent_jobs,
    plans.max_queue_size,
    plans.submit_rate,
    plans.submit_burst,
    (
        SELECT count(*) FROM commands WHERE commands.tenant_id = tenants.id AND commands.status IN ('assigned', 'running')
    )::int AS running,
    (SELECT count(*) FROM commands WHERE commands.tenant_id = tenants.id AND commands.status = 'queued')::int AS queued,
    tenants.created_at,
    tenants.updated_at
FROM tenants
JOIN plans ON plans.name = tenants.plan
WHERE tenants.id = $1 AND NOT tenants.is_system;

-- name: page
SELECT
    tenants.id,
    tenants.name,
    tenants.plan,
    tenants.status,
    plans.max_concurrent_jobs,
    plans.max_queue_size,
    plans.submit_rate,
    plans.submit_burst,
    (
        SELECT count(*) FROM commands WHERE commands.tenant_id = tenants.id AND commands.status IN ('assigned', 'running')
    )::int AS running,
    (SELECT count(*) FROM commands WHERE commands.tenant_id = tenants.id AND commands.status = 'queued')::int AS queued,
    tenants.created_at,
    tenants.updated_at
FROM tenants
JOIN plans ON plans.name = tenants.plan
WHERE NOT tenants.is_system
    AND ($1::timestamptz IS NULL OR (tenants.created_at, tenants.id) < ($1, $2::uuid))
ORDER BY tenants.created_at DESC, tenants.id DESC
LIMIT $3;

-- xmax is 0 in a row that nobody has updated: it was made just now.
-- name: put
INSERT INTO tenants (id, name, plan, status)
VALUES ($1, $2, $3, $4)
ON CONFLICT (id) DO UPDATE
SET name = excluded.name, plan = excluded.plan, status = excluded.status, updated_at = clock_timestamp()
RETURNING xmax = 0 AS made;

-- FOR UPDATE: submissions under way hold the row by their foreign key, and end before this does.
-- name: lock
SELECT id FROM tenants WHERE id = $1 AND NOT is_system FOR UPDATE;

-- name: suspend
UPDATE tenants SET status = 'suspended', updated_at = clock_timestamp() WHERE id = $1;

-- Rows are locked in the order that every writer of jobs uses.
-- name: delete_open_jobs
WITH open AS (
    SELECT id
    FROM commands
    WHERE tenant_id = $1 AND (status IN ('queued', 'assigned', 'running') OR slot_held)
    ORDER BY id
    FOR UPDATE
)
DELETE FROM commands
USING open
WHERE commands.id = open.id
RETURNING commands.id, CASE WHEN commands.slot_held THEN commands.platform_agent_id END AS holder;

-- name: delete_some_jobs
DELETE FROM commands WHERE id = ANY (ARRAY(SELECT id FROM commands WHERE tenant_id = $1 LIMIT $2));

-- After those of `commands`: a job that is archived meanwhile is found here, or there the next time.
-- name: delete_some_finished_jobs
DELETE FROM finished_commands WHERE id = ANY (ARRAY(SELECT id FROM finished_commands WHERE tenant_id = $1 LIMIT $2));

-- name: delete_some_idempotency_keys
DELETE FROM idempotency_keys
WHERE (tenant_id, key) IN (SELECT tenant_id, key FROM idempotency_keys WHERE tenant_id = $1 LIMIT $2);

-- name: delete_agent_keys
DELETE FROM agent_keys USING agents WHERE agents.id = agent_keys.agent_id AND agents.tenant_id = $1;

-- name: delete_agent_presence
DELETE FROM agent_presence USING agents WHERE agents.id = agent_presence.agent_id AND agents.tenant_id = $1;

-- name: delete_agents
DELETE FROM agents WHERE tenant_id = $1;

-- name: delete
DELETE FROM tenants WHERE id = $1;
