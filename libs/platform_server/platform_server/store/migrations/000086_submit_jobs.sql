-- Not STRICT any more: Postgres writes such a function out where it stands only if NULL needs no care, and calling it for
-- each job that waits takes ten times as long. Nothing queued has no ``queued_at``.
CREATE OR REPLACE FUNCTION queue_priority(base int, waited interval) RETURNS int
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN base + least(greatest(floor(extract(epoch FROM waited) / 6), 0), 500)::int;

-- A batch of submissions in one round trip: judged by the room that their tenants have, placed, queued. One row an item, in the
-- batch's order. What is queued has ``place`` and ``queued_at``, what is refused has neither; an unknown tenant has no
-- ``size_limit``.
--
-- Submissions of a tenant stand in line at its row of tenant_queues, which is locked until the transaction ends. What follows
-- must see what was committed while it waited: statements of their own, a VOLATILE function, and READ COMMITTED.
--
-- Planned once a session, maybe for empty tables: no table is read whole, and what is looked up for one item is a subquery
-- that only an index can answer. All else is joined by hash, for loops within loops are slow with large batches.
CREATE FUNCTION submit_jobs(
    job_ids uuid[],
    tenant_ids uuid[],
    types text[],
    priorities text[],
    bases int[],
    payloads text[],
    -- Each a sorted JSON array.
    capability_lists text[],
    tools text[],
    regions text[],
    timeouts int[],
    token_hashes text[],
    retries_of uuid[],
    traceparents text[],
    OUT place int,
    OUT queued_at timestamptz,
    OUT size_limit int,
    OUT size int
) RETURNS SETOF record
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
    at_time timestamptz;
    places int[];
    limits int[];
    sizes int[];
    lane_ids bigint[];
    missing boolean;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE 'submit_jobs counts what was committed while it waited for a lock: it needs READ COMMITTED';
    END IF;

    -- Made before any is locked, and both in one order: batches never wait for each other in a circle.
    IF cardinality(ARRAY(SELECT DISTINCT unnest(tenant_ids)))
        > (SELECT count(*) FROM tenant_queues WHERE tenant_id = ANY (tenant_ids))
    THEN
        INSERT INTO tenant_queues (tenant_id)
        SELECT id FROM tenants WHERE id = ANY (tenant_ids) ORDER BY id
        ON CONFLICT DO NOTHING;
    END IF;
    PERFORM FROM tenant_queues WHERE tenant_id = ANY (tenant_ids) ORDER BY tenant_id FOR UPDATE;
    at_time := clock_timestamp();

    -- Of each tenant's items the first are queued, as many as there is room for. Before such an item stand the jobs whose
    -- priority is no less than that of a new one with its base, and the earlier items with no lower base.
    WITH room AS MATERIALIZED (
        SELECT tenants.id AS tenant_id, plans.max_queue_size AS size_limit, waiting.*
        FROM tenants
        JOIN plans ON plans.name = tenants.plan
        CROSS JOIN LATERAL (
            SELECT
                count(*)::int AS size,
                count(*) FILTER (WHERE latest >= 1000) AS before_critical,
                count(*) FILTER (WHERE latest >= 750) AS before_high,
                count(*) FILTER (WHERE latest >= 500) AS before_normal,
                count(*) FILTER (WHERE latest >= 250) AS before_low
            FROM (
                SELECT
                    queue_priority(
                        CASE commands.priority WHEN 'critical' THEN 1000 WHEN 'high' THEN 750 WHEN 'normal' THEN 500 ELSE 250 END,
                        at_time - commands.queued_at
                    ) AS latest
                FROM commands
                WHERE commands.tenant_id = tenants.id AND commands.status = 'queued'
                -- Or it would be computed for each of the filters.
                OFFSET 0
            ) AS queued
        ) AS waiting
        WHERE tenants.id = ANY (tenant_ids)
    ), judged AS (
        SELECT
            asked.n,
            room.size_limit,
            room.size,
            CASE WHEN room.size + row_number() OVER so_far <= room.size_limit THEN
                CASE asked.base
                    WHEN 1000 THEN room.before_critical + count(*) FILTER (WHERE asked.base >= 1000) OVER so_far
                    WHEN 750 THEN room.before_high + count(*) FILTER (WHERE asked.base >= 750) OVER so_far
                    WHEN 500 THEN room.before_normal + count(*) FILTER (WHERE asked.base >= 500) OVER so_far
                    ELSE room.before_low + count(*) FILTER (WHERE asked.base >= 250) OVER so_far
                END
            END AS place
        FROM unnest(tenant_ids, bases) WITH ORDINALITY AS asked (tenant_id, base, n)
        LEFT JOIN room ON room.tenant_id = asked.tenant_id
        WINDOW so_far AS (PARTITION BY asked.tenant_id ORDER BY asked.n ROWS UNBOUNDED PRECEDING)
    )
    SELECT
        array_agg(place ORDER BY n), array_agg(size_limit ORDER BY n), array_agg(greatest(size, size_limit) ORDER BY n)
    INTO places, limits, sizes
    FROM judged;

    -- Looks before it inserts: nearly every lane exists, and an insert that conflicts still burns an id.
    LOOP
        SELECT array_agg(lane_id ORDER BY n), bool_or(lane_id IS NULL AND place IS NOT NULL)
        INTO lane_ids, missing
        FROM (
            SELECT
                asked.n,
                asked.place,
                (
                    SELECT lanes.id
                    FROM lanes
                    WHERE lanes.tenant_id = asked.tenant_id
                        AND lanes.base = asked.base
                        AND lanes.requirement_id = (
                            SELECT requirements.id
                            FROM requirements
                            WHERE requirements.capabilities = ARRAY(SELECT json_array_elements_text(asked.capabilities::json))
                                AND requirements.tool = coalesce(asked.tool, '')
                                AND requirements.preferred_region = coalesce(asked.region, '')
                        )
                ) AS lane_id
            FROM unnest(tenant_ids, bases, capability_lists, tools, regions, places)
                WITH ORDINALITY AS asked (tenant_id, base, capabilities, tool, region, place, n)
        ) AS found;
        EXIT WHEN missing IS NOT TRUE;

        INSERT INTO requirements (capabilities, tool, preferred_region)
        SELECT
            ARRAY(SELECT json_array_elements_text(asked.capabilities::json)),
            coalesce(asked.tool, ''),
            coalesce(asked.region, '')
        FROM unnest(capability_lists, tools, regions, places) AS asked (capabilities, tool, region, place)
        WHERE asked.place IS NOT NULL
        ORDER BY 1, 2, 3
        ON CONFLICT DO NOTHING;

        INSERT INTO lanes (tenant_id, requirement_id, base)
        SELECT
            asked.tenant_id,
            (
                SELECT requirements.id
                FROM requirements
                WHERE requirements.capabilities = ARRAY(SELECT json_array_elements_text(asked.capabilities::json))
                    AND requirements.tool = coalesce(asked.tool, '')
                    AND requirements.preferred_region = coalesce(asked.region, '')
            ),
            asked.base
        FROM unnest(tenant_ids, bases, capability_lists, tools, regions, places)
            AS asked (tenant_id, base, capabilities, tool, region, place)
        WHERE asked.place IS NOT NULL
        ORDER BY 1, 2, 3
        ON CONFLICT DO NOTHING;
    END LOOP;

    -- A microsecond apart: jobs of one moment stay in the order they came in.
    RETURN QUERY
    WITH judged AS MATERIALIZED (
        SELECT asked.*, CASE WHEN asked.place IS NOT NULL THEN at_time + asked.n * interval '1 microsecond' END AS queued_at
        FROM unnest(
            job_ids, tenant_ids, types, priorities, bases, payloads, capability_lists, tools, regions, timeouts, token_hashes,
            retries_of, traceparents, places, limits, sizes, lane_ids
        ) WITH ORDINALITY AS asked (
            id, tenant_id, type, priority, base, payload, capabilities, tool, region, timeout_seconds, auth_token_hash,
            retry_of, traceparent, place, size_limit, size, lane_id, n
        )
    ), queued AS (
        INSERT INTO commands (
            id, tenant_id, type, priority, status, payload, capabilities, tool, preferred_region, timeout_seconds,
            auth_token_hash, retry_of, traceparent, lane_id, is_platform_job, queued_at, created_at, queue_priority
        )
        SELECT
            id, tenant_id, type, priority, 'queued', payload::json,
            ARRAY(SELECT json_array_elements_text(capabilities::json)), tool, region, timeout_seconds, auth_token_hash,
            retry_of, traceparent, lane_id, true, queued_at, queued_at, base
        FROM judged
        WHERE place IS NOT NULL
    ), woken AS (
        INSERT INTO lane_wakes (lane_id, queued_at)
        SELECT lane_id, min(queued_at) FROM judged WHERE place IS NOT NULL GROUP BY lane_id
    )
    SELECT place, queued_at, size_limit, size FROM judged ORDER BY n;
END;
$$;

DROP FUNCTION tenants_room;
