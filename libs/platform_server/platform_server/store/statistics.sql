-- What the workers count for people: gauges and log lines.

-- name: open_jobs
SELECT
    status,
    count(*)::int AS jobs,
    coalesce(extract(epoch FROM clock_timestamp() - min(queued_at)), 0)::float8 AS oldest_seconds
FROM commands
WHERE status IN ('queued', 'assigned', 'running')
GROUP BY status;

-- name: open_jobs_of_tenants
SELECT tenant_id, status, count(*)::int AS jobs
FROM commands
WHERE status IN ('queued', 'assigned', 'running')
GROUP BY tenant_id, status;

-- name: agents
SELECT
    agents.is_platform_agent IS TRUE AS platform,
    agents.admin_state,
    agent_presence.online IS TRUE AS online,
    coalesce(agents.region, '') AS region,
    count(*)::int AS agents,
    sum(agents.max_concurrent)::int AS slots,
    sum(coalesce(held.jobs, 0))::int AS running
FROM agents
LEFT JOIN agent_presence ON agent_presence.agent_id = agents.id
LEFT JOIN (
    SELECT platform_agent_id, count(*) AS jobs FROM commands WHERE slot_held GROUP BY platform_agent_id
) AS held ON held.platform_agent_id = agents.id
WHERE agents.deleted_at IS NULL
GROUP BY 1, 2, 3, 4;

-- name: banned
SELECT count(*)::int FROM banned_ips WHERE banned_until > clock_timestamp();
