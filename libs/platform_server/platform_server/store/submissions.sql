-- Locks the tenants' queues, counts, judges, places and queues (migration 000086).
-- name: submit
SELECT place, queued_at, size_limit, size
FROM submit_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);
