-- The place of each of these jobs among its tenant's own queued jobs, in published order.
-- name: positions
SELECT placed.id, placed.queued_at, placed.position
FROM (
    SELECT
        commands.id,
        commands.queued_at,
        row_number() OVER (
            PARTITION BY commands.tenant_id
            ORDER BY
                queue_priority(lanes.base, clock_timestamp() - commands.queued_at) DESC, commands.queued_at, commands.id
        )::int AS position
    FROM commands
    JOIN lanes ON lanes.id = commands.lane_id
    WHERE commands.tenant_id = ANY ($1::uuid[]) AND lanes.tenant_id = ANY ($1::uuid[]) AND commands.status = 'queued'
) AS placed
WHERE placed.id = ANY ($2::uuid[]);

-- name: find
SELECT
    id, tenant_id, type, priority, status, payload::text AS payload, capabilities, preferred_region, timeout_seconds,
    progress, message, result::text AS result, error, platform_agent_id, queue_priority, attempt, retry_count, retry_of,
    attempt_log::text AS attempt_log, created_at, queued_at, assigned_at, started_at, completed_at
FROM jobs
WHERE tenant_id = $1 AND id = $2;

-- Two shapes: most jobs are completed, and a walk through a tenant's million would look long for the others. The tenant is hidden
-- from the planner: of a busy one it would look among everybody's latest jobs, where it may have none.
-- name: page
SELECT
    id, tenant_id, type, priority, status, payload::text AS payload, capabilities, preferred_region, timeout_seconds,
    progress, message, result::text AS result, error, platform_agent_id, queue_priority, attempt, retry_count, retry_of,
    attempt_log::text AS attempt_log, created_at, queued_at, assigned_at, started_at, completed_at
FROM jobs
WHERE tenant_id = (SELECT $1::uuid)
    AND ($2::text IS NULL OR status = $2)
    AND ($3::text IS NULL OR type = $3)
    AND ($4::text IS NULL OR priority = $4)
    AND id < coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
ORDER BY id DESC
LIMIT $6;

-- name: page_of_uncompleted
SELECT
    id, tenant_id, type, priority, status, payload::text AS payload, capabilities, preferred_region, timeout_seconds,
    progress, message, result::text AS result, error, platform_agent_id, queue_priority, attempt, retry_count, retry_of,
    attempt_log::text AS attempt_log, created_at, queued_at, assigned_at, started_at, completed_at
FROM jobs
WHERE tenant_id = (SELECT $1::uuid)
    AND status = $2
    AND status <> 'completed'
    AND ($3::text IS NULL OR type = $3)
    AND ($4::text IS NULL OR priority = $4)
    AND id < coalesce($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
ORDER BY id DESC
LIMIT $6;

-- name: belongs_to_another
SELECT EXISTS (SELECT FROM jobs WHERE id = $1 AND tenant_id <> $2);

-- The slot stays with the agent until it confirms that it stopped.
-- name: cancel_if_open
WITH cancelled AS (
    UPDATE commands
    SET status = 'cancelled', completed_at = clock_timestamp()
    WHERE tenant_id = $1 AND id = $2 AND status IN ('queued', 'assigned', 'running')
    RETURNING platform_agent_id AS agent, slot_held, attempt, lane_id, queued_at, old.status = 'queued' AS was_queued
), woken AS (
    INSERT INTO lane_wakes (lane_id, queued_at)
    SELECT lane_id, queued_at FROM cancelled WHERE was_queued AND lane_id IS NOT NULL
)
SELECT agent, slot_held, attempt FROM cancelled;

-- name: stats
SELECT
    count(*) FILTER (WHERE status = 'queued')::int AS queued,
    count(*) FILTER (WHERE status = 'assigned')::int AS assigned,
    count(*) FILTER (WHERE status = 'running')::int AS running,
    coalesce(extract(epoch FROM clock_timestamp() - min(queued_at) FILTER (WHERE status = 'queued')), 0)::float8 AS oldest
FROM commands
WHERE status IN ('queued', 'assigned', 'running');

-- name: stats_by_priority
SELECT priority, count(*)::int AS queued FROM commands WHERE status = 'queued' GROUP BY priority;

-- name: stats_by_tenant
SELECT
    tenant_id,
    count(*) FILTER (WHERE status = 'queued')::int AS queued,
    count(*) FILTER (WHERE status <> 'queued')::int AS held
FROM commands
WHERE status IN ('queued', 'assigned', 'running')
GROUP BY tenant_id
ORDER BY count(*) DESC, tenant_id
LIMIT 100;

-- Bounded by statement_timestamp(), for the sake of the indexes: see archive.
-- name: stats_of_last_hour
SELECT
    coalesce(percentile_cont(0.50) WITHIN GROUP (ORDER BY waited), 0)::float8 AS p50,
    coalesce(percentile_cont(0.95) WITHIN GROUP (ORDER BY waited), 0)::float8 AS p95,
    coalesce(percentile_cont(0.99) WITHIN GROUP (ORDER BY waited), 0)::float8 AS p99,
    (
        SELECT count(*)
        FROM jobs
        WHERE completed_at > statement_timestamp() - interval '10 minutes' AND status IN ('completed', 'failed')
    )::float8 / 10 AS done_per_minute
FROM (
    SELECT assigned_at, extract(epoch FROM assigned_at - queued_at) AS waited
    FROM commands
    WHERE status IN ('assigned', 'running')
    UNION ALL
    SELECT assigned_at, extract(epoch FROM assigned_at - queued_at)
    FROM jobs
    WHERE completed_at > statement_timestamp() - interval '1 hour'
) AS handed_out
WHERE assigned_at > statement_timestamp() - interval '1 hour';
