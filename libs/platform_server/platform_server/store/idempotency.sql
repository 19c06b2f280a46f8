-- Which of these keys are ours until the transaction ends; the others are another transaction's.
-- name: hold
SELECT asked.tenant_id, asked.key, pg_try_advisory_xact_lock(hashtextextended(asked.tenant_id || asked.key, 0)) AS ours
FROM unnest($1::uuid[], $2::text[]) AS asked (tenant_id, key);

-- name: find
SELECT
    keys.tenant_id, keys.key, keys.body_hash, keys.job_id, keys.position, keys.queued_at, keys.agent_id, keys.assigned_at
FROM unnest($1::uuid[], $2::text[]) AS asked (tenant_id, key)
JOIN idempotency_keys AS keys ON keys.tenant_id = asked.tenant_id AND keys.key = asked.key
WHERE keys.created_at > clock_timestamp() - interval '24 hours';

-- name: remember
INSERT INTO idempotency_keys (tenant_id, key, body_hash, job_id, position, queued_at)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::int[], $6::timestamptz[])
ON CONFLICT (tenant_id, key) DO UPDATE
SET body_hash = excluded.body_hash, job_id = excluded.job_id, position = excluded.position,
    queued_at = excluded.queued_at, agent_id = NULL, assigned_at = NULL, created_at = clock_timestamp();

-- name: note_told
UPDATE idempotency_keys SET agent_id = $4, assigned_at = $5 WHERE tenant_id = $1 AND key = $2 AND job_id = $3;
