-- The first half of a claim: how all tenants stand when a batch begins, and the foremost ``batch`` of each offered profile.
-- Nobody behind them can be among so many hand-outs. The second half is domain/rule.py, `fill`; a test compares the two
-- together with the model there. Tenants that are not among the foremost are moved here, the others by the claim.
--
-- Planned as if every set were large: what a WITH query gives can only be guessed, and a nested loop over 10,000 tenants
-- takes seconds, a hash join over ten takes nothing. Ids are looked up as an array, so that no table is read whole for a few
-- rows of it; where ``many`` wait, it is.
CREATE FUNCTION rank_tenants(
    at_time double precision,
    patience double precision,
    batch int,
    offered int[],
    slot_profiles int[],
    slot_numbers int[],
    woken_lanes bigint[],
    woken_tenants uuid[],
    woken_requirements int[],
    woken_bases int[],
    woken_queued_at timestamptz[],
    corrected_tenants uuid[],
    corrected_turns double precision[]
) RETURNS json
LANGUAGE plpgsql VOLATILE
SET enable_nestloop = off
SET enable_mergejoin = off
SET enable_sort = off
SET work_mem = '64MB'
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    lanes int := (SELECT count(*) FROM lane_heads);
    many boolean := lanes * 4 > (SELECT reltuples FROM pg_class WHERE oid = 'tenants'::regclass);
    answer json;
BEGIN
    WITH RECURSIVE woken AS (
        SELECT *
        FROM unnest(woken_lanes, woken_tenants, woken_requirements, woken_bases, woken_queued_at)
            AS woken (lane_id, tenant_id, requirement_id, base, queued_at)
    ), heads AS NOT MATERIALIZED (
        SELECT lane_id, tenant_id, requirement_id, base, queued_at, at
        FROM lane_heads
        WHERE NOT EXISTS (SELECT FROM woken WHERE woken.lane_id = lane_heads.lane_id)
        UNION ALL
        SELECT lane_id, tenant_id, requirement_id, base, queued_at, extract(epoch FROM queued_at)::double precision
        FROM woken
        WHERE queued_at IS NOT NULL
    ), slots AS MATERIALIZED (
        SELECT slots.profile_id, slots.slots, coalesce(profile_turns.v, 0) AS v
        FROM unnest(slot_profiles, slot_numbers) AS slots (profile_id, slots)
        LEFT JOIN profile_turns ON profile_turns.profile_id = slots.profile_id
        WHERE slots.slots > 0
    ), wanted (requirement_id) AS (
        -- Every requirement that waits, by skipping through the index: they are few, the lanes may be many.
        (SELECT requirement_id FROM lane_heads ORDER BY requirement_id LIMIT 1)
        UNION ALL
        SELECT (
            SELECT lane_heads.requirement_id
            FROM lane_heads
            WHERE lane_heads.requirement_id > wanted.requirement_id
            ORDER BY lane_heads.requirement_id
            LIMIT 1
        )
        FROM wanted
        WHERE wanted.requirement_id IS NOT NULL
    ), fitting AS MATERIALIZED (
        SELECT
            requirements.id AS requirement_id,
            profiles.id AS profile_id,
            requirements.preferred_region IN ('', profiles.region) AS at_home,
            bool_or(requirements.preferred_region IN ('', profiles.region)) OVER (PARTITION BY requirements.id) AS has_home
        FROM requirements
        CROSS JOIN slots
        JOIN profiles ON profiles.id = slots.profile_id
        WHERE requirements.id = ANY (ARRAY(SELECT requirement_id FROM wanted) || woken_requirements)
            AND requirements.capabilities <@ profiles.capabilities
            AND (requirements.tool = '' OR requirements.tool = ANY (profiles.tools))
    ), waiting AS MATERIALIZED (
        -- The best published place of each tenant's jobs that may go there now: priority first, then age, as one number.
        SELECT
            heads.tenant_id,
            fitting.profile_id,
            min(heads.at - at_time - 1e7 * (heads.base + least(floor(greatest(at_time - heads.at, 0) / 6), 500))) AS place
        FROM heads
        JOIN fitting ON fitting.requirement_id = heads.requirement_id
        WHERE fitting.at_home OR NOT fitting.has_home OR at_time - heads.at >= patience
        GROUP BY heads.tenant_id, fitting.profile_id
    ), held AS MATERIALIZED (
        SELECT tenant_id, profile_id, count(*)::int AS jobs
        FROM commands
        WHERE status IN ('assigned', 'running')
        GROUP BY tenant_id, profile_id
    ), here AS MATERIALIZED (
        SELECT tenant_id FROM waiting UNION SELECT tenant_id FROM held
    ), known AS (
        -- Few of many are looked up, many are read with all.
        SELECT id, plan, status, turn, contending, mean_seconds
        FROM tenants
        LEFT JOIN tenant_turns ON tenant_turns.tenant_id = tenants.id
        WHERE many
        UNION ALL
        SELECT id, plan, status, turn, contending, mean_seconds
        FROM tenants
        LEFT JOIN tenant_turns
            ON tenant_turns.tenant_id = tenants.id AND tenant_turns.tenant_id = ANY (ARRAY(SELECT tenant_id FROM here))
        WHERE NOT many AND id = ANY (ARRAY(SELECT tenant_id FROM here))
    ), present AS MATERIALIZED (
        SELECT
            known.id AS tenant_id,
            plans.max_concurrent_jobs AS weight,
            coalesce(running.jobs, 0) AS running,
            coalesce(corrected.turn, known.turn, 0) AS turn,
            coalesce(known.contending, false) AS contending,
            known.mean_seconds
        FROM known
        JOIN plans ON plans.name = known.plan
        LEFT JOIN unnest(corrected_tenants, corrected_turns) AS corrected (tenant_id, turn) ON corrected.tenant_id = known.id
        LEFT JOIN (SELECT tenant_id, sum(jobs)::int AS jobs FROM held GROUP BY tenant_id) AS running
            ON running.tenant_id = known.id
        WHERE known.status = 'active'
    ), servable AS MATERIALIZED (
        SELECT waiting.tenant_id, waiting.profile_id, waiting.place, present.weight, present.turn, present.contending
        FROM waiting
        JOIN present ON present.tenant_id = waiting.tenant_id
        WHERE present.running < present.weight
    ), capped AS MATERIALIZED (
        -- They wait for no turn but for their own jobs, and stay where they are.
        SELECT tenant_id, turn, contending
        FROM present
        WHERE running >= weight AND tenant_id IN (SELECT tenant_id FROM waiting)
    ), before AS MATERIALIZED (
        SELECT slots.profile_id, slots.v AS since, lowest.round, greatest(slots.v, lowest.round) AS v
        FROM slots
        LEFT JOIN (
            SELECT profile_id, floor(min(turn)) AS round FROM servable WHERE contending GROUP BY profile_id
        ) AS lowest ON lowest.profile_id = slots.profile_id
    ), joining AS MATERIALIZED (
        -- Who starts to wait has saved nothing up, and owes at most 20 rounds.
        SELECT servable.tenant_id, greatest(min(before.v), least(servable.turn, min(before.v) + 20)) AS turn
        FROM servable
        JOIN before ON before.profile_id = servable.profile_id
        WHERE NOT servable.contending
        GROUP BY servable.tenant_id, servable.turn
    ), standing AS MATERIALIZED (
        SELECT
            servable.tenant_id,
            servable.profile_id,
            servable.place,
            servable.weight,
            coalesce(joining.turn, servable.turn) AS turn
        FROM servable
        LEFT JOIN joining ON joining.tenant_id = servable.tenant_id
    ), virtual_times AS (
        SELECT before.profile_id, greatest(before.since, least(before.round, newest.round)) AS v
        FROM before
        LEFT JOIN (
            SELECT servable.profile_id, floor(min(joining.turn)) AS round
            FROM servable
            JOIN joining ON joining.tenant_id = servable.tenant_id
            GROUP BY servable.profile_id
        ) AS newest ON newest.profile_id = before.profile_id
    ), active AS MATERIALIZED (
        SELECT taking_part.profile_id, sum(taking_part.weight)::int AS weight
        FROM (
            SELECT profile_id, weight FROM servable
            UNION ALL
            SELECT held.profile_id, present.weight
            FROM held
            JOIN present ON present.tenant_id = held.tenant_id
            LEFT JOIN servable ON servable.tenant_id = held.tenant_id AND servable.profile_id = held.profile_id
            WHERE servable.tenant_id IS NULL
        ) AS taking_part
        GROUP BY taking_part.profile_id
    ), chosen AS MATERIALIZED (
        SELECT foremost.tenant_id, foremost.turn
        FROM slots
        JOIN active ON active.profile_id = slots.profile_id
        CROSS JOIN LATERAL (
            SELECT standing.tenant_id, standing.turn
            FROM standing
            LEFT JOIN held ON held.tenant_id = standing.tenant_id AND held.profile_id = standing.profile_id
            WHERE standing.profile_id = slots.profile_id
            ORDER BY
                coalesce(held.jobs, 0) >= slots.slots::double precision * standing.weight / active.weight,
                floor(standing.turn),
                standing.place
            FETCH FIRST batch ROWS WITH TIES
        ) AS foremost
        WHERE slots.profile_id = ANY (offered)
        UNION
        SELECT tenant_id, turn FROM standing WHERE tenant_id = ANY (corrected_tenants)
        UNION
        SELECT tenant_id, turn FROM capped WHERE tenant_id = ANY (corrected_tenants)
    ), moved AS (
        INSERT INTO tenant_turns (tenant_id, turn, contending)
        SELECT tenant_id, turn, true
        FROM joining
        WHERE tenant_id NOT IN (SELECT tenant_id FROM chosen)
        UNION ALL
        SELECT tenant_id, turn, true
        FROM capped
        WHERE NOT contending AND tenant_id NOT IN (SELECT tenant_id FROM chosen)
        ON CONFLICT (tenant_id) DO UPDATE SET turn = excluded.turn, contending = true
    ), rested AS (
        UPDATE tenant_turns
        SET contending = false
        WHERE contending
            AND tenant_id NOT IN (SELECT tenant_id FROM standing)
            AND tenant_id NOT IN (SELECT tenant_id FROM capped)
            AND tenant_id <> ALL (corrected_tenants)
    ), lanes_of_chosen AS MATERIALIZED (
        -- ``depth``: how many jobs are read of a lane; three times what its tenant may expect of the batch by its weight.
        SELECT
            heads.lane_id,
            heads.tenant_id,
            heads.base,
            heads.requirement_id,
            heads.queued_at,
            1 + least(
                batch,
                greatest(present.weight - present.running, 0),
                ceil(3.0 * batch * present.weight / sum(present.weight) OVER (PARTITION BY heads.base, heads.requirement_id))
            )::int AS depth
        FROM heads
        JOIN present ON present.tenant_id = heads.tenant_id
        WHERE heads.tenant_id = ANY (ARRAY(SELECT tenant_id FROM chosen))
            AND heads.requirement_id IN (SELECT requirement_id FROM fitting)
    )
    SELECT json_build_object(
        'lanes', lanes
            - (SELECT count(*) FROM lane_heads WHERE lane_id = ANY (woken_lanes))
            + (SELECT count(*) FROM woken WHERE queued_at IS NOT NULL),
        'virtual_times', (SELECT json_agg(virtual_times) FROM virtual_times),
        'active', (SELECT json_agg(active) FROM active),
        'tenants', (
            SELECT json_agg(tenant)
            FROM (
                SELECT
                    present.tenant_id, present.weight, present.running, chosen.turn, present.contending, present.mean_seconds
                FROM chosen
                JOIN present ON present.tenant_id = chosen.tenant_id
            ) AS tenant
        ),
        'held', (SELECT json_agg(held) FROM held WHERE tenant_id IN (SELECT tenant_id FROM chosen)),
        'lanes_of_chosen', (SELECT json_agg(lanes_of_chosen) FROM lanes_of_chosen),
        'jobs', (
            SELECT json_agg(job)
            FROM lanes_of_chosen
            CROSS JOIN LATERAL (
                SELECT commands.lane_id, commands.id, commands.attempt, commands.queued_at
                FROM commands
                WHERE commands.lane_id = lanes_of_chosen.lane_id
                    AND commands.status = 'queued'
                    AND commands.queued_at >= lanes_of_chosen.queued_at
                ORDER BY commands.queued_at, commands.id
                LIMIT lanes_of_chosen.depth
            ) AS job
        ),
        'requirements', (
            SELECT json_agg(requirements)
            FROM requirements
            WHERE requirements.id = ANY (ARRAY(SELECT requirement_id FROM lanes_of_chosen))
        ),
        'profiles', (SELECT json_agg(profiles) FROM profiles WHERE profiles.id = ANY (slot_profiles))
    )
    INTO answer;
    RETURN answer;
END;
$$;

-- Small tables that change all the time are vacuumed by how much changed, not by how large they are; and analysed soon, for a
-- plan that was made for an empty table does not do for a full one.
ALTER TABLE commands SET (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.02
);
ALTER TABLE lane_heads SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_analyze_scale_factor = 0.1, autovacuum_analyze_threshold = 100
);
ALTER TABLE lane_wakes SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
ALTER TABLE turn_corrections SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
ALTER TABLE tenant_turns SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
    autovacuum_analyze_scale_factor = 0.1, autovacuum_analyze_threshold = 100
);
ALTER TABLE agent_presence SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
