DROP FUNCTION submit_jobs;

CREATE OR REPLACE FUNCTION queue_priority(base int, waited interval) RETURNS int
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN base + least(greatest(floor(extract(epoch FROM waited) / 6), 0), 500)::int;

-- What a submission counts, in one round trip: how many jobs of each tenant wait, and how many would stand before a new one.
-- Submissions of a tenant stand in line at its row, which is locked until the transaction ends. The count is a statement of its
-- own, and this function VOLATILE: it must see what was committed while it waited for the lock.
CREATE FUNCTION tenants_room(
    asked uuid[],
    OUT tenant_id uuid,
    OUT size_limit int,
    OUT size int,
    -- Jobs whose priority is no less than that of a new one with this base: 1000, 750, 500, 250.
    OUT before_critical int,
    OUT before_high int,
    OUT before_normal int,
    OUT before_low int
) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
DECLARE
    locked int;
BEGIN
    PERFORM FROM tenant_queues WHERE tenant_id = ANY (asked) ORDER BY tenant_id FOR UPDATE;
    GET DIAGNOSTICS locked = ROW_COUNT;
    IF locked < cardinality(asked) THEN
        INSERT INTO tenant_queues (tenant_id)
        SELECT id FROM tenants WHERE id = ANY (asked) ORDER BY id
        ON CONFLICT DO NOTHING;
        PERFORM FROM tenant_queues WHERE tenant_id = ANY (asked) ORDER BY tenant_id FOR UPDATE;
    END IF;
    RETURN QUERY
    SELECT
        tenants.id,
        plans.max_queue_size,
        waiting.size,
        waiting.before_critical,
        waiting.before_high,
        waiting.before_normal,
        waiting.before_low
    FROM tenants
    JOIN plans ON plans.name = tenants.plan
    CROSS JOIN LATERAL (
        SELECT
            count(*)::int AS size,
            (count(*) FILTER (WHERE latest >= 1000))::int AS before_critical,
            (count(*) FILTER (WHERE latest >= 750))::int AS before_high,
            (count(*) FILTER (WHERE latest >= 500))::int AS before_normal,
            (count(*) FILTER (WHERE latest >= 250))::int AS before_low
        FROM (
            SELECT
                queue_priority(
                    CASE commands.priority WHEN 'critical' THEN 1000 WHEN 'high' THEN 750 WHEN 'normal' THEN 500 ELSE 250 END,
                    clock_timestamp() - commands.queued_at
                ) AS latest
            FROM commands
            WHERE commands.tenant_id = tenants.id AND commands.status = 'queued'
        ) AS queued
    ) AS waiting
    WHERE tenants.id = ANY (asked);
END;
$$;
