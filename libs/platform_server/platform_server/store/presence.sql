-- Rows are written in one order, so that replicas' batches do not deadlock.
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

-- name: note_versions
UPDATE agents
SET version = told.version, updated_at = clock_timestamp()
FROM unnest($1::uuid[], $2::text[]) AS told (agent, version)
WHERE agents.id = told.agent AND agents.version IS DISTINCT FROM told.version;

-- Jobs that the agent must stop (cancelled, not confirmed), and those that it should be running.
-- name: jobs_of_agents
SELECT platform_agent_id AS agent, id, attempt, status
FROM commands
WHERE platform_agent_id = ANY ($1::uuid[]) AND slot_held;

-- name: mark_stale_offline
WITH stale AS (
    SELECT agent_id
    FROM agent_presence
    WHERE online AND coalesce(last_seen_at, '-infinity') < clock_timestamp() - $1::interval
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

-- name: statuses
SELECT agents.is_platform_agent IS TRUE AS platform, agents.admin_state, agent_presence.online IS TRUE AS online,
    count(*)::int AS agents, sum(agents.max_concurrent)::int AS slots
FROM agents
LEFT JOIN agent_presence ON agent_presence.agent_id = agents.id
WHERE agents.deleted_at IS NULL
GROUP BY 1, 2, 3;

-- name: banned
SELECT count(*)::int FROM banned_ips WHERE banned_until > clock_timestamp();
