-- Who holds this key: the one read that every request of an agent makes.
-- name: identity
SELECT
    agents.id,
    agents.admin_state,
    agents.is_platform_agent IS TRUE AS is_platform_agent,
    agent_keys.key_prefix,
    agents.capabilities,
    agents.tools,
    coalesce(agents.region, '') AS region,
    agents.max_concurrent,
    extract(epoch FROM agent_keys.expires_at - clock_timestamp())::double precision AS valid_seconds,
    coalesce(agent_keys.last_used_at < clock_timestamp() - interval '5 minutes', true) AS last_use_is_old
FROM agent_keys
JOIN agents ON agents.id = agent_keys.agent_id
WHERE agent_keys.key_hash = $1
    AND (agent_keys.expires_at IS NULL OR agent_keys.expires_at > clock_timestamp())
    AND agents.deleted_at IS NULL;

-- Whose credentials changed since a snapshot that was seen before; a transaction that was open then is seen now.
-- name: changes
SELECT
    pg_current_snapshot()::text AS seen,
    ARRAY(
        SELECT DISTINCT agent_id
        FROM agent_changes
        WHERE xid >= pg_snapshot_xmin($1::text::pg_snapshot)
            AND NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot)
    ) AS agents;

-- name: touch_key
UPDATE agent_keys SET last_used_at = clock_timestamp() WHERE key_hash = $1;

-- name: insert_if_name_free
INSERT INTO agents (
    id, tenant_id, is_platform_agent, name, capabilities, tools, labels, region, max_concurrent, version, hostname
)
VALUES ($1, '00000000-0000-0000-0000-000000000001', true, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (tenant_id, name) WHERE deleted_at IS NULL DO NOTHING
RETURNING id;

-- name: insert_presence
INSERT INTO agent_presence (agent_id) VALUES ($1);

-- name: insert_key
INSERT INTO agent_keys (key_hash, agent_id, key_prefix) VALUES ($1, $2, $3);

-- NO KEY UPDATE: the claim's foreign keys may go on pointing here.
-- name: lock_by_name
SELECT agents.id, agents.admin_state, coalesce(agent_presence.online, false) AS online
FROM agents
LEFT JOIN agent_presence ON agent_presence.agent_id = agents.id
WHERE agents.tenant_id = '00000000-0000-0000-0000-000000000001' AND agents.name = $1 AND agents.deleted_at IS NULL
FOR NO KEY UPDATE OF agents;

-- name: describe_anew
UPDATE agents
SET capabilities = $2, tools = $3, labels = $4, region = $5, max_concurrent = $6, version = $7, hostname = $8,
    updated_at = clock_timestamp()
WHERE id = $1;

-- name: delete_keys
DELETE FROM agent_keys WHERE agent_id = $1;

-- At most two keys live: an older one that was only being waited out ends now.
-- name: delete_expiring_keys
DELETE FROM agent_keys WHERE agent_id = $1 AND expires_at IS NOT NULL;

-- name: expire_keys
UPDATE agent_keys SET expires_at = clock_timestamp() + $2 WHERE agent_id = $1;

-- name: disable_if_live
UPDATE agents
SET admin_state = 'disabled', disable_reason = $2, updated_at = clock_timestamp()
WHERE id = $1 AND deleted_at IS NULL AND is_platform_agent
RETURNING id;

-- name: enable_if_live
UPDATE agents
SET admin_state = 'enabled', disable_reason = NULL, updated_at = clock_timestamp()
WHERE id = $1 AND deleted_at IS NULL AND is_platform_agent
RETURNING id;

-- name: drain_if_not_disabled
UPDATE agents
SET admin_state = 'draining', updated_at = clock_timestamp()
WHERE id = $1 AND deleted_at IS NULL AND is_platform_agent AND admin_state <> 'disabled'
RETURNING id;

-- name: lock_live
SELECT id FROM agents WHERE id = $1 AND deleted_at IS NULL AND is_platform_agent FOR NO KEY UPDATE;

-- name: delete_if_live
UPDATE agents
SET deleted_at = clock_timestamp(), updated_at = clock_timestamp()
WHERE id = $1 AND deleted_at IS NULL AND is_platform_agent
RETURNING id;

-- name: find
SELECT
    agents.id,
    agents.name,
    agents.admin_state,
    coalesce(agent_presence.online, false) AS online,
    agents.is_platform_agent,
    agents.region,
    agents.capabilities,
    agents.tools,
    agents.labels,
    agents.max_concurrent,
    (SELECT count(*) FROM commands WHERE commands.platform_agent_id = agents.id AND commands.slot_held)::int AS running,
    agents.version,
    agents.hostname,
    agent_presence.last_seen_at,
    agents.created_at
FROM agents
LEFT JOIN agent_presence ON agent_presence.agent_id = agents.id
WHERE agents.id = $1 AND agents.deleted_at IS NULL AND agents.is_platform_agent;

-- Which admin states a status means depends on presence: $1 for agents online, $2 for the others.
-- name: page
SELECT
    agents.id,
    agents.name,
    agents.admin_state,
    coalesce(agent_presence.online, false) AS online,
    agents.is_platform_agent,
    agents.region,
    agents.capabilities,
    agents.tools,
    agents.labels,
    agents.max_concurrent,
    (SELECT count(*) FROM commands WHERE commands.platform_agent_id = agents.id AND commands.slot_held)::int AS running,
    agents.version,
    agents.hostname,
    agent_presence.last_seen_at,
    agents.created_at
FROM agents
LEFT JOIN agent_presence ON agent_presence.agent_id = agents.id
WHERE agents.deleted_at IS NULL
    AND agents.is_platform_agent
    AND agents.admin_state = ANY (CASE WHEN agent_presence.online THEN $1::text[] ELSE $2::text[] END)
    AND ($3::text IS NULL OR agents.region = $3)
    AND ($4::text IS NULL OR $4 = ANY (agents.capabilities))
    AND ($5::uuid IS NULL OR agents.id < $5)
ORDER BY agents.id DESC
LIMIT $6;

-- name: held_jobs
SELECT id, tenant_id, type, priority, status, attempt, progress, assigned_at, started_at
FROM commands
WHERE platform_agent_id = $1 AND slot_held
ORDER BY id DESC;

-- name: totals
SELECT
    agents.admin_state,
    coalesce(agent_presence.online, false) AS online,
    coalesce(agents.region, '') AS region,
    count(*)::int AS agents,
    sum(agents.max_concurrent)::int AS slots,
    sum(coalesce(held.jobs, 0))::int AS running
FROM agents
LEFT JOIN agent_presence ON agent_presence.agent_id = agents.id
LEFT JOIN (
    SELECT platform_agent_id, count(*) AS jobs FROM commands WHERE slot_held GROUP BY platform_agent_id
) AS held ON held.platform_agent_id = agents.id
WHERE agents.deleted_at IS NULL AND agents.is_platform_agent
GROUP BY agents.admin_state, coalesce(agent_presence.online, false), coalesce(agents.region, '');
