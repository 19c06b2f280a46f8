-- Where jobs go that are over, and how they leave it (migration 000087). Both under the worker's lease, both pass over rows
-- that others hold. Times are statement_timestamp(): clock_timestamp() could not bound a walk through an index.

-- Whole rows, at most $1 and about $4 bytes of payloads and results a time. The walk begins at $3: behind it are jobs that went
-- before, whose dead entries would be read again each time while somebody holds an old snapshot.
-- name: move_finished
WITH old AS (
    SELECT id, completed_at, pg_column_size(payload) + coalesce(pg_column_size(result), 0) AS bytes
    FROM commands
    WHERE completed_at >= $3::timestamptz
        AND completed_at <= statement_timestamp() - $2::interval
        AND is_platform_job
        AND NOT slot_held
    ORDER BY completed_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
), summed AS (
    SELECT id, sum(bytes) OVER (ORDER BY completed_at, id) - bytes AS before FROM old
), moved AS (
    DELETE FROM commands
    WHERE id = ANY (ARRAY(SELECT id FROM summed WHERE before < $4::bigint))
    RETURNING *
), archived AS (
    INSERT INTO finished_commands SELECT * FROM moved RETURNING completed_at
)
SELECT count(*)::int AS jobs, max(completed_at) AS until FROM archived;

-- name: delete_old
WITH old AS (
    SELECT id
    FROM finished_commands
    WHERE completed_at <= statement_timestamp() - $2::interval
    ORDER BY completed_at
    LIMIT $1
    FOR UPDATE SKIP LOCKED
)
DELETE FROM finished_commands WHERE id = ANY (ARRAY(SELECT id FROM old)) RETURNING id;
