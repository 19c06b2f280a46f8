-- Rows are locked in one order, so that replicas' batches do not deadlock.
-- name: note_heartbeats
WITH beat AS (
    SELECT *
    FROM unnest($1::uuid[], $2::real[], $3::real[], $4::real[])
        AS beat (agent, cpu_percent, memory_percent, disk_percent)
), locked AS (
    SELECT agent_presence.agent_id
    FROM agent_presence
    JOIN beat ON beat.agent = agent_presence.agent_id
    ORDER BY agent_presence.agent_id
    FOR NO KEY UPDATE OF agent_presence
)
UPDATE agent_presence
SET last_seen_at = clock_timestamp(),
    online = true,
    cpu_percent = beat.cpu_percent,
    memory_percent = beat.memory_percent,
    disk_percent = beat.disk_percent
FROM beat
JOIN locked ON locked.agent_id = beat.agent
WHERE agent_presence.agent_id = beat.agent
RETURNING agent_presence.agent_id, old.online AS was_online;

-- A sign of life of a moment ago is as good as one of now: agents with many short jobs do not write each time.
-- name: note_seen_if_old
WITH locked AS (
    SELECT agent_id
    FROM agent_presence
    WHERE agent_id = ANY ($1::uuid[])
        AND coalesce(last_seen_at, '-infinity') < clock_timestamp() - interval '5 seconds'
    ORDER BY agent_id
    FOR NO KEY UPDATE
)
UPDATE agent_presence
SET last_seen_at = clock_timestamp()
FROM locked
WHERE agent_presence.agent_id = locked.agent_id;

-- name: note_versions
UPDATE agents
SET version = told.version, updated_at = clock_timestamp()
FROM unnest($1::uuid[], $2::text[]) AS told (agent, version)
WHERE agents.id = told.agent AND agents.version IS DISTINCT FROM told.version;

-- name: now
SELECT clock_timestamp();

-- Jobs that the agents must stop (cancelled, not confirmed), and those that they should be running.
-- name: jobs_of_agents
SELECT platform_agent_id AS agent, id, attempt, status, retry_count
FROM commands
WHERE platform_agent_id = ANY ($1::uuid[]) AND slot_held
ORDER BY id;

-- Jobs that ended in this agent's hands and hold no slot any more.
-- name: jobs_ended_at_agent
SELECT id, status
FROM jobs
WHERE platform_agent_id = $1 AND id = ANY ($2::uuid[]) AND NOT slot_held AND status IN ('cancelled', 'completed');

-- name: mark_stale_offline
WITH stale AS (
    SELECT agent_id
    FROM agent_presence
    WHERE online AND coalesce(last_seen_at, '-infinity') <= clock_timestamp() - $1::interval
    ORDER BY agent_id
    LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE agent_presence
SET online = false
FROM stale
WHERE agent_presence.agent_id = stale.agent_id
RETURNING agent_presence.agent_id;

-- A held poll is a sign of life too.
-- name: mark_seen_online
WITH seen AS (
    SELECT agent_id
    FROM agent_presence
    WHERE NOT online AND last_seen_at > clock_timestamp() - $1::interval
    ORDER BY agent_id
    LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE agent_presence
SET online = true
FROM seen
WHERE agent_presence.agent_id = seen.agent_id
RETURNING agent_presence.agent_id;

-- Of the agents that were there a moment ago, those that are silent now. Whoever is marked online was there.
-- name: silence
SELECT
    count(*) FILTER (WHERE last_seen_at <= clock_timestamp() - $1::interval)::int AS silent,
    count(*)::int AS watched
FROM agent_presence
JOIN agents ON agents.id = agent_presence.agent_id
WHERE agents.deleted_at IS NULL
    AND agents.admin_state <> 'disabled'
    AND (agent_presence.online OR agent_presence.last_seen_at > clock_timestamp() - $1::interval - $2::interval);

-- The brake stands among the leases: it ends by itself too, and whoever holds it is the reason. Zero rows: it is on.
-- name: pull_brake_if_off
INSERT INTO worker_leases (name, holder, epoch, expires_at)
VALUES ('requeue-brake', 'mass-silence', 1, clock_timestamp() + $1::interval)
ON CONFLICT (name) DO UPDATE
SET epoch = worker_leases.epoch + 1, expires_at = excluded.expires_at
WHERE worker_leases.expires_at <= clock_timestamp()
RETURNING epoch;

-- name: release_brake
UPDATE worker_leases SET expires_at = clock_timestamp() WHERE name = 'requeue-brake' AND expires_at > clock_timestamp();

-- name: brake_left
SELECT expires_at - clock_timestamp() FROM worker_leases WHERE name = 'requeue-brake' AND expires_at > clock_timestamp();
