"""A database with so many jobs: as many queued as archived, some held, one tenant with a tenth of the archive."""

from dataclasses import dataclass

import asyncpg

AGENTS = 64
KEY_HASH = "a" * 64


@dataclass(frozen=True, slots=True)
class Size:
    """``jobs`` wait, and as many are archived."""

    name: str
    jobs: int
    tenants: int


async def load(dsn: str, size: Size) -> None:
    """Analysed at the end, as autovacuum would have done by then."""
    conn = await asyncpg.connect(dsn)
    try:
        await conn.execute(_FLEET)
        await conn.execute(_TENANTS, size.tenants)
        await conn.execute(_LANES)
        await conn.execute(_QUEUED, size.jobs, timeout=600)
        await conn.execute(_HELD, size.jobs // 100)
        await conn.execute(_JUST_OVER, size.jobs // 100)
        await conn.execute(_ARCHIVED, size.jobs, timeout=600)
        await conn.execute(_KEYS, timeout=600)
        await conn.execute(_HEADS, timeout=600)
        await conn.execute("VACUUM ANALYZE", timeout=600)
    finally:
        await conn.close()


_FLEET = f"""
INSERT INTO requirements (capabilities, tool, preferred_region) VALUES ('{{nuclei}}', 'nuclei', '');
INSERT INTO profiles (capabilities, tools, region) VALUES ('{{nuclei}}', '{{nuclei}}', 'local');
INSERT INTO agents (id, tenant_id, name, max_concurrent, capabilities, tools, region, is_platform_agent)
SELECT
    uuidv7(), '00000000-0000-0000-0000-000000000001', 'agent-' || n, 100, '{{nuclei}}', '{{nuclei}}', 'local', true
FROM generate_series(1, {AGENTS}) AS n;
INSERT INTO agent_keys (key_hash, agent_id, key_prefix)
SELECT CASE name WHEN 'agent-1' THEN '{KEY_HASH}' ELSE encode(sha256(name::bytea), 'hex') END, id, 'rdv_agent_'
FROM agents;
INSERT INTO agent_presence (agent_id, online, profile_id, last_seen_at)
SELECT id, true, 1, clock_timestamp() FROM agents;
"""
_TENANTS = """
INSERT INTO tenants (id, name, plan)
SELECT uuidv7(), 'tenant ' || n, (ARRAY['enterprise', 'free', 'starter', 'pro'])[1 + n % 4]
FROM generate_series(0, $1::int - 1) AS n
"""
_LANES = """
INSERT INTO lanes (tenant_id, requirement_id, base)
SELECT id, 1, base FROM tenants CROSS JOIN unnest('{1000,750,500,250}'::int[]) AS base WHERE NOT is_system
"""
_QUEUED = """
INSERT INTO commands (
    id, tenant_id, type, priority, status, payload, tool, capabilities, lane_id, is_platform_job, queued_at,
    auth_token_hash
)
SELECT
    uuidv7(), lane.tenant_id, 'scan',
    CASE lane.base WHEN 1000 THEN 'critical' WHEN 750 THEN 'high' WHEN 500 THEN 'normal' ELSE 'low' END,
    'queued', '{"tool": "nuclei", "target": "example.com"}', 'nuclei', '{nuclei}', lane.id, true,
    clock_timestamp() - random() * interval '1 hour', repeat('0', 64)
FROM generate_series(0, $1::int - 1) AS job
JOIN (SELECT *, row_number() OVER (ORDER BY id) - 1 AS n FROM lanes) AS lane
    ON lane.n = job % (SELECT count(*) FROM lanes)
"""
# Held by the first half of the agents, so that the others have room.
_HELD = f"""
UPDATE commands
SET status = 'running', platform_agent_id = holder.id, profile_id = 1, cost = 1, slot_held = true, attempt = 1,
    assigned_at = clock_timestamp(), started_at = clock_timestamp(),
    auth_token_expires_at = clock_timestamp() + interval '40 minutes'
FROM (SELECT id, row_number() OVER () AS n FROM commands ORDER BY queued_at LIMIT least($1::int, {AGENTS * 25})) AS job
JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM agents) AS holder
    ON holder.n = 1 + job.n % {AGENTS // 2}
WHERE commands.id = job.id
"""
_JUST_OVER = """
UPDATE commands
SET status = 'completed', completed_at = clock_timestamp() - random() * interval '50 s', progress = 100,
    assigned_at = clock_timestamp() - interval '1 min', started_at = clock_timestamp() - interval '1 min'
WHERE id IN (SELECT id FROM commands WHERE status = 'queued' ORDER BY id DESC LIMIT $1::int)
"""
# Over the thirty days before; one in a hundred failed. A tenth of all belongs to the first tenant.
_ARCHIVED = """
INSERT INTO finished_commands (
    id, tenant_id, type, priority, status, payload, tool, capabilities, is_platform_job, queued_at, assigned_at,
    started_at, completed_at, created_at, result, progress, attempt, auth_token_hash, platform_agent_id,
    auth_token_expires_at
)
SELECT
    uuidv7(at - clock_timestamp()), tenant.id, 'scan', 'normal',
    CASE WHEN job % 100 = 0 THEN 'failed' ELSE 'completed' END,
    '{"tool": "nuclei", "target": "example.com"}', 'nuclei', '{nuclei}', true, at, at, at, at + interval '30 s', at,
    '{"findings": [], "summary": "Found nothing"}', 100, 1, repeat('0', 64), holder.id, at + interval '40 minutes'
FROM generate_series(1, $1::int) AS job
CROSS JOIN LATERAL (
    SELECT clock_timestamp() - interval '30 days' * (1 - job::float8 / $1::int) - interval '2 min' AS at
) AS ended
JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS n FROM tenants WHERE NOT is_system) AS tenant
    ON tenant.n = CASE WHEN job % 10 = 0 THEN 0 ELSE job % (SELECT count(*) FROM tenants WHERE NOT is_system) END
CROSS JOIN (SELECT id FROM agents ORDER BY id LIMIT 1) AS holder
"""
_KEYS = """
INSERT INTO idempotency_keys (tenant_id, key, body_hash, job_id, position, created_at)
SELECT tenant_id, id::text, '', id, 1, clock_timestamp() - random() * interval '23 hours'
FROM commands
WHERE status = 'queued'
"""
_HEADS = """
INSERT INTO lane_heads (lane_id, tenant_id, requirement_id, base, queued_at, at)
SELECT lanes.id, lanes.tenant_id, 1, lanes.base, min(queued_at), extract(epoch FROM min(queued_at))
FROM commands
JOIN lanes ON lanes.id = commands.lane_id
WHERE commands.status = 'queued'
GROUP BY lanes.id
"""
