-- How a claim ends, and how one that a single poll makes is done whole, in one round trip. Most claims are of that kind: while a
-- claim is in flight others gather, and only then the rule's second half has several agents to choose from (domain/rule.py).

-- All that a claim writes. Rows of jobs are locked in one order before any is written; a job that was cancelled or expired
-- meanwhile is left out, and not charged. A token's hash that is NULL stays as it is;
-- a job that was put back has none, and gets one that no token has. No other part reads another.
CREATE FUNCTION assign_if_queued(
    jobs uuid[],
    agents uuid[],
    profiles int[],
    costs double precision[],
    charges double precision[],
    token_hashes text[],
    instant timestamptz,
    tenants uuid[],
    turns double precision[],
    contending boolean[],
    means double precision[],
    moved_profiles int[],
    moved_to double precision[],
    head_lanes bigint[],
    heads timestamptz[],
    emptied_lanes bigint[],
    folded bigint[],
    looked bigint[],
    fleet_mean double precision
) RETURNS SETOF commands
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    assigned commands[];
BEGIN
    WITH wanted AS (
        SELECT *
        FROM unnest(jobs, agents, profiles, costs, token_hashes) AS wanted (job, agent, profile, cost, token_hash)
    ), locked AS (
        SELECT commands.id
        FROM commands
        WHERE commands.id = ANY (jobs) AND commands.status = 'queued'
        ORDER BY commands.tenant_id, commands.id
        FOR NO KEY UPDATE
    ), noted_turns AS (
        INSERT INTO tenant_turns AS present (tenant_id, turn, contending, mean_seconds)
        SELECT * FROM unnest(tenants, turns, contending, means)
        ON CONFLICT (tenant_id) DO UPDATE
        SET turn = excluded.turn, contending = excluded.contending, mean_seconds = excluded.mean_seconds
        WHERE (present.turn, present.contending, present.mean_seconds)
            IS DISTINCT FROM (excluded.turn, excluded.contending, excluded.mean_seconds)
    ), noted_times AS (
        INSERT INTO profile_turns (profile_id, v)
        SELECT * FROM unnest(moved_profiles, moved_to)
        ON CONFLICT (profile_id) DO UPDATE SET v = excluded.v
    ), noted_heads AS (
        INSERT INTO lane_heads AS present (lane_id, tenant_id, requirement_id, base, queued_at, at)
        SELECT
            lanes.id, lanes.tenant_id, lanes.requirement_id, lanes.base, latest.queued_at, extract(epoch FROM latest.queued_at)
        FROM unnest(head_lanes, heads) AS latest (lane_id, queued_at)
        JOIN lanes ON lanes.id = latest.lane_id
        ON CONFLICT (lane_id) DO UPDATE
        SET queued_at = excluded.queued_at, at = excluded.at
        WHERE present.queued_at <> excluded.queued_at
    ), emptied AS (
        DELETE FROM lane_heads WHERE lane_id = ANY (emptied_lanes)
    ), forgotten AS (
        DELETE FROM turn_corrections WHERE id = ANY (folded)
    ), slept AS (
        DELETE FROM lane_wakes WHERE id = ANY (looked)
    ), noted_mean AS (
        UPDATE fleet SET mean_seconds = fleet_mean WHERE mean_seconds <> fleet_mean
    ), updated AS (
        UPDATE commands
        SET status = 'assigned',
            platform_agent_id = wanted.agent,
            profile_id = wanted.profile,
            cost = wanted.cost,
            attempt = commands.attempt + 1,
            slot_held = true,
            assigned_at = instant,
            started_at = NULL,
            progress = NULL,
            message = NULL,
            auth_token_hash = coalesce(wanted.token_hash, commands.auth_token_hash, ''),
            auth_token_expires_at = instant + commands.timeout_seconds * interval '1 second' + interval '10 minutes'
        FROM wanted
        JOIN locked ON locked.id = wanted.job
        WHERE commands.id = wanted.job
        RETURNING commands.*
    )
    SELECT coalesce(array_agg(updated::commands), '{}') INTO assigned FROM updated;

    IF cardinality(assigned) < cardinality(jobs) THEN
        UPDATE tenant_turns
        SET turn = tenant_turns.turn - gone.charged
        FROM (
            SELECT commands.tenant_id, sum(wanted.charge) AS charged
            FROM unnest(jobs, charges) AS wanted (job, charge)
            JOIN commands ON commands.id = wanted.job
            WHERE wanted.job NOT IN (SELECT id FROM unnest(assigned))
            GROUP BY commands.tenant_id
        ) AS gone
        WHERE tenant_turns.tenant_id = gone.tenant_id;
    END IF;
    RETURN QUERY SELECT * FROM unnest(assigned);
END;
$$;

-- A turn after so many hand-outs. Added one by one, as the model does it: a sum in another order is another number.
CREATE FUNCTION turn_after(turn double precision, charge double precision, times int) RETURNS double precision
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    FOR n IN 1..times LOOP
        turn := turn + charge;
    END LOOP;
    RETURN turn;
END;
$$;

CREATE FUNCTION rows_of(array_or_null json) RETURNS json
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE json_typeof(array_or_null) WHEN 'array' THEN array_or_null ELSE '[]'::json END;

-- A whole claim for one poll. A tenant's k-th job has its place by what the tenant will have had by then (its share, its round),
-- and no later job of a tenant stands before an earlier one: so the rule's loop over the slots of one agent is one sorting.
-- Raises PA001 when a lane was not read deep enough; nothing is written then.
CREATE FUNCTION claim_for_one(
    poll_agent uuid,
    poll_profile int,
    poll_wanted int,
    online_profiles int[],
    online_slots int[],
    patience double precision,
    at_instant timestamptz
) RETURNS json
LANGUAGE plpgsql VOLATILE
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    began json;
    ranking json;
    instant timestamptz;
    fleet_mean double precision;
    free int;
    decided record;
    books record;
    answer json;
BEGIN
    -- A statement of its own: the next one must see what was committed under the lock.
    PERFORM pg_advisory_xact_lock(7305808869221);
    began := begin_claim(
        ARRAY[poll_agent], ARRAY[poll_profile], ARRAY[poll_wanted], online_profiles, online_slots, patience, at_instant
    );
    ranking := began -> 'ranking';
    instant := began ->> 'now';
    fleet_mean := began ->> 'fleet_mean';
    SELECT greatest(0, least(poll_wanted, max_concurrent - running))
    INTO free
    FROM json_to_recordset(began -> 'offering') AS agent (max_concurrent int, running int);

    WITH mean AS (
        SELECT *
        FROM ROWS FROM (json_array_elements_text(began -> 'corrected'), json_array_elements_text(began -> 'means'))
            AS mean (tenant_id, seconds)
    ), tenant AS MATERIALIZED (
        SELECT
            ranked.tenant_id,
            ranked.weight,
            ranked.weight - ranked.running AS room,
            ranked.turn,
            coalesce(mean.seconds::double precision, ranked.mean_seconds) AS mean_seconds,
            coalesce(held.jobs, 0) AS held_here,
            slots.slots::double precision * ranked.weight / active.weight AS share
        FROM json_to_recordset(rows_of(ranking -> 'tenants'))
            AS ranked (tenant_id uuid, weight int, running int, turn double precision, mean_seconds double precision)
        LEFT JOIN json_to_recordset(rows_of(ranking -> 'held')) AS held (tenant_id uuid, profile_id int, jobs int)
            ON held.tenant_id = ranked.tenant_id AND held.profile_id = poll_profile
        LEFT JOIN mean ON mean.tenant_id::uuid = ranked.tenant_id
        LEFT JOIN json_to_recordset(rows_of(ranking -> 'active')) AS active (profile_id int, weight int)
            ON active.profile_id = poll_profile
        LEFT JOIN ROWS FROM (json_array_elements_text(began -> 'slot_profiles'), json_array_elements_text(began -> 'slots'))
            AS slots (profile_id, slots)
            ON slots.profile_id::int = poll_profile
    ), charged AS MATERIALIZED (
        SELECT
            *,
            greatest(coalesce(mean_seconds, fleet_mean), 0.1) / greatest(fleet_mean, 0.1) AS cost,
            greatest(coalesce(mean_seconds, fleet_mean), 0.1) / greatest(fleet_mean, 0.1) * 2 / weight AS charge
        FROM tenant
    ), lane AS MATERIALIZED (
        SELECT *
        FROM json_to_recordset(rows_of(ranking -> 'lanes_of_chosen'))
            AS lane (lane_id bigint, tenant_id uuid, base int, requirement_id int, depth int)
    ), fitting AS MATERIALIZED (
        SELECT
            requirements.id AS requirement_id,
            profiles.id AS profile_id,
            requirements.preferred_region IN ('', profiles.region) AS at_home,
            bool_or(requirements.preferred_region IN ('', profiles.region)) OVER (PARTITION BY requirements.id) AS has_home
        FROM ROWS FROM (json_array_elements_text(began -> 'slot_profiles'), json_array_elements_text(began -> 'slots'))
            AS slots (profile_id, slots)
        JOIN profiles ON profiles.id = slots.profile_id::int
        JOIN requirements
            ON requirements.id = ANY (ARRAY(SELECT requirement_id FROM lane))
            AND requirements.capabilities <@ profiles.capabilities
            AND (requirements.tool = '' OR requirements.tool = ANY (profiles.tools))
        WHERE slots.slots::int > 0
    ), job AS MATERIALIZED (
        SELECT
            job.id,
            job.lane_id,
            job.queued_at,
            lane.tenant_id,
            lane.requirement_id,
            extract(epoch FROM instant)::double precision - extract(epoch FROM job.queued_at)::double precision AS waited,
            row_number() OVER (PARTITION BY job.lane_id ORDER BY job.queued_at, job.id) AS place_in_lane,
            lane.base
        FROM json_to_recordset(rows_of(ranking -> 'jobs')) AS job (lane_id bigint, id uuid, queued_at timestamptz)
        JOIN lane ON lane.lane_id = job.lane_id
    ), may_go AS (
        SELECT job.id, fitting.profile_id
        FROM job
        JOIN fitting ON fitting.requirement_id = job.requirement_id
        WHERE fitting.at_home OR NOT fitting.has_home OR job.waited >= patience
    ), in_line AS MATERIALIZED (
        SELECT
            job.*,
            job.base + least(floor(greatest(job.waited, 0) / 6), 500) AS priority,
            row_number() OVER (
                PARTITION BY job.tenant_id
                ORDER BY job.base + least(floor(greatest(job.waited, 0) / 6), 500) DESC, job.queued_at, job.id
            )::int - 1 AS before
        FROM job
        WHERE job.id IN (SELECT id FROM may_go WHERE profile_id = poll_profile)
    ), taken AS MATERIALIZED (
        SELECT
            in_line.*,
            charged.cost,
            charged.charge,
            row_number() OVER (
                ORDER BY
                    charged.held_here + in_line.before >= charged.share,
                    floor(turn_after(charged.turn, charged.charge, in_line.before)),
                    in_line.priority DESC,
                    in_line.queued_at,
                    in_line.id
            ) AS place
        FROM in_line
        JOIN charged ON charged.tenant_id = in_line.tenant_id
        WHERE in_line.before < least(charged.room, free)
        ORDER BY place
        LIMIT free
    ), left_over AS MATERIALIZED (
        SELECT job.*, EXISTS (SELECT FROM may_go WHERE may_go.id = job.id) AS may_go_somewhere
        FROM job
        WHERE job.id NOT IN (SELECT id FROM taken)
    ), noted AS (
        SELECT
            charged.tenant_id,
            turn_after(charged.turn, charged.charge, (
                SELECT count(*)::int FROM taken WHERE taken.tenant_id = charged.tenant_id
            )) AS turn,
            EXISTS (
                SELECT FROM left_over WHERE left_over.tenant_id = charged.tenant_id AND left_over.may_go_somewhere
            ) AS contending,
            charged.mean_seconds
        FROM charged
        UNION ALL
        SELECT corrected.tenant_id::uuid, corrected.turn::double precision, false, corrected.mean_seconds::double precision
        FROM ROWS FROM (
            json_array_elements_text(began -> 'corrected'), json_array_elements_text(began -> 'turns'),
            json_array_elements_text(began -> 'means')
        ) AS corrected (tenant_id, turn, mean_seconds)
        WHERE corrected.tenant_id::uuid NOT IN (SELECT tenant_id FROM charged)
    ), latest AS (
        -- Lanes that somebody touched, and those that jobs were taken from or that turned out to be empty.
        SELECT lane.lane_id, (
            SELECT min(left_over.queued_at) FROM left_over WHERE left_over.lane_id = lane.lane_id
        ) AS queued_at
        FROM lane
        WHERE lane.lane_id IN (SELECT lane_id FROM taken) OR lane.lane_id NOT IN (SELECT lane_id FROM job)
        UNION ALL
        SELECT woken.id, woken.queued_at
        FROM json_to_recordset(began -> 'woken') AS woken (id bigint, queued_at timestamptz)
        WHERE woken.id NOT IN (SELECT lane_id FROM taken)
            AND woken.id NOT IN (SELECT lane_id FROM lane WHERE lane_id NOT IN (SELECT lane_id FROM job))
    )
    SELECT
        (SELECT coalesce(array_agg(id ORDER BY place), '{}') FROM taken) AS jobs,
        (SELECT coalesce(array_agg(cost ORDER BY place), '{}') FROM taken) AS costs,
        (SELECT coalesce(array_agg(charge ORDER BY place), '{}') FROM taken) AS charges,
        (SELECT coalesce(array_agg(tenant_id), '{}') FROM noted) AS tenants,
        (SELECT coalesce(array_agg(turn), '{}') FROM noted) AS turns,
        (SELECT coalesce(array_agg(contending), '{}') FROM noted) AS contending,
        (SELECT coalesce(array_agg(mean_seconds), '{}') FROM noted) AS means,
        (SELECT coalesce(array_agg(lane_id), '{}') FROM latest WHERE queued_at IS NOT NULL) AS head_lanes,
        (SELECT coalesce(array_agg(queued_at), '{}') FROM latest WHERE queued_at IS NOT NULL) AS heads,
        (SELECT coalesce(array_agg(lane_id), '{}') FROM latest WHERE queued_at IS NULL) AS emptied_lanes,
        (SELECT count(*) FROM latest JOIN lane ON lane.lane_id = latest.lane_id WHERE latest.queued_at IS NULL) AS lanes_emptied,
        EXISTS (
            SELECT FROM taken JOIN lane ON lane.lane_id = taken.lane_id WHERE taken.place_in_lane >= lane.depth
        ) AS too_shallow
    INTO decided;
    IF decided.too_shallow THEN
        RAISE EXCEPTION USING ERRCODE = 'PA001', MESSAGE = 'a lane was not read deep enough';
    END IF;

    SELECT coalesce(array_agg(latest.profile_id), '{}') AS profiles, coalesce(array_agg(latest.v), '{}') AS times
    INTO books
    FROM json_to_recordset(rows_of(ranking -> 'virtual_times')) AS latest (profile_id int, v double precision)
    LEFT JOIN json_to_recordset(began -> 'virtual_times') AS before (profile_id int, v double precision)
        ON before.profile_id = latest.profile_id
    WHERE latest.v <> coalesce(before.v, 0);

    SELECT json_build_object(
        'now', instant,
        'handed_out', coalesce((
            SELECT json_agg(
                json_build_object(
                    'id', assigned.id, 'tenant_id', assigned.tenant_id, 'agent_id', assigned.platform_agent_id,
                    'attempt', assigned.attempt, 'type', assigned.type, 'payload', assigned.payload,
                    'timeout_seconds', assigned.timeout_seconds, 'traceparent', assigned.traceparent,
                    'queued_at', assigned.queued_at, 'auth_token_hash', assigned.auth_token_hash
                )
                ORDER BY array_position(decided.jobs, assigned.id)
            )
            FROM assign_if_queued(
                decided.jobs,
                array_fill(poll_agent, ARRAY[cardinality(decided.jobs)]),
                array_fill(poll_profile, ARRAY[cardinality(decided.jobs)]),
                decided.costs, decided.charges,
                array_fill(NULL::text, ARRAY[cardinality(decided.jobs)]),
                instant, decided.tenants, decided.turns, decided.contending, decided.means, books.profiles, books.times,
                decided.head_lanes, decided.heads, decided.emptied_lanes,
                ARRAY(SELECT json_array_elements_text(began -> 'ended')::bigint),
                ARRAY(SELECT json_array_elements_text(began -> 'wakes')::bigint),
                fleet_mean
            ) AS assigned
        ), '[]'),
        'left_waiting', coalesce((ranking ->> 'lanes')::int, 0) > decided.lanes_emptied,
        'able', coalesce((SELECT running < max_concurrent FROM json_to_recordset(began -> 'offering') AS agent (max_concurrent int, running int)), false)
    )
    INTO answer;
    RETURN answer;
END;
$$;
