-- Locks the tenants' queues, then counts (migration 000085).
-- name: room
SELECT tenant_id, size_limit, size, before_critical, before_high, before_normal, before_low FROM tenants_room($1);

-- name: insert_jobs
WITH queued AS (
    INSERT INTO commands (
        id, tenant_id, type, priority, status, payload, capabilities, tool, preferred_region, timeout_seconds,
        auth_token_hash, retry_of, traceparent, lane_id, is_platform_job, queued_at, created_at, queue_priority
    )
    SELECT
        job.id, job.tenant_id, job.type, job.priority, 'queued', job.payload::json,
        array(SELECT json_array_elements_text(job.capabilities::json)), job.tool, job.preferred_region,
        job.timeout_seconds, job.auth_token_hash, job.retry_of, job.traceparent, job.lane_id, true, job.now, job.now,
        job.base
    FROM (
        SELECT *, clock_timestamp() AS now
        FROM unnest(
            $1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::int[],
            $10::text[], $11::uuid[], $12::text[], $13::bigint[], $14::int[]
        ) AS asked (
            id, tenant_id, type, priority, payload, capabilities, tool, preferred_region, timeout_seconds,
            auth_token_hash, retry_of, traceparent, lane_id, base
        )
    ) AS job
    RETURNING id, lane_id, queued_at
), woken AS (
    INSERT INTO lane_wakes (lane_id, queued_at)
    SELECT lane_id, min(queued_at) FROM queued GROUP BY lane_id
)
SELECT id, queued_at FROM queued;
