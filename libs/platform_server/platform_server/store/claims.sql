-- name: intern_profile
INSERT INTO profiles (capabilities, tools, region) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING;

-- name: find_profile
SELECT id FROM profiles WHERE capabilities = $1 AND tools = $2 AND region = $3;

-- One claim at a time in the cell. A statement of its own: the next one must see what was committed under the lock.
-- name: lock
SELECT pg_advisory_xact_lock(7305808869221);

-- What the claim needs to know before it ranks: the time, what ended since the last one, the agents that offer, as they
-- stand now (disabled, draining and deleted ones get nothing), the slots of every profile (an agent with an open poll is
-- there, even before its first heartbeat), every V, and the heads of lanes that somebody touched.
-- name: look
WITH ended AS (
    SELECT id, tenant_id, profile_id, charged, held_seconds FROM turn_corrections ORDER BY id LIMIT 1000
), woken AS (
    SELECT id, lane_id, queued_at FROM lane_wakes ORDER BY id LIMIT 5000
)
SELECT
    coalesce($2::timestamptz, clock_timestamp()) AS now,
    (SELECT mean_seconds FROM fleet) AS fleet_mean,
    (SELECT json_agg(ended ORDER BY id) FROM ended) AS ended,
    (
        SELECT json_agg(corrected)
        FROM (
            SELECT
                tenants.id,
                plans.max_concurrent_jobs AS weight,
                coalesce(tenant_turns.turn, 0) AS turn,
                tenant_turns.mean_seconds
            FROM tenants
            JOIN plans ON plans.name = tenants.plan
            LEFT JOIN tenant_turns ON tenant_turns.tenant_id = tenants.id
            WHERE tenants.id IN (SELECT tenant_id FROM ended)
        ) AS corrected
    ) AS corrected,
    (
        SELECT json_agg(offering)
        FROM (
            SELECT
                agents.id,
                agents.max_concurrent,
                (
                    SELECT count(*) FROM commands WHERE commands.platform_agent_id = agents.id AND commands.slot_held
                )::int AS running
            FROM agents
            WHERE agents.id = ANY ($1::uuid[])
                AND agents.admin_state = 'enabled'
                AND agents.deleted_at IS NULL
                AND agents.is_platform_agent
        ) AS offering
    ) AS offering,
    (
        SELECT json_agg(there)
        FROM (
            SELECT agent_presence.profile_id AS id, sum(agents.max_concurrent)::int AS slots
            FROM agent_presence
            JOIN agents ON agents.id = agent_presence.agent_id
            WHERE agents.admin_state = 'enabled'
                AND agents.deleted_at IS NULL
                AND agent_presence.profile_id IS NOT NULL
                AND (agent_presence.online OR agents.id = ANY ($1::uuid[]))
            GROUP BY agent_presence.profile_id
        ) AS there
    ) AS slots,
    (SELECT json_agg(profile_turns) FROM profile_turns) AS virtual_times,
    (SELECT array_agg(id) FROM woken) AS wakes,
    (
        SELECT json_agg(lane)
        FROM (
            SELECT lanes.id, lanes.tenant_id, lanes.requirement_id, lanes.base, head.queued_at
            FROM (SELECT lane_id, min(queued_at) AS since FROM woken GROUP BY lane_id) AS touched
            JOIN lanes ON lanes.id = touched.lane_id
            LEFT JOIN lane_heads ON lane_heads.lane_id = lanes.id
            LEFT JOIN LATERAL (
                SELECT commands.queued_at
                FROM commands
                WHERE commands.lane_id = lanes.id
                    AND commands.status = 'queued'
                    -- From where the lane can begin: in front of it there may be many dead index entries.
                    AND commands.queued_at >= least(touched.since, lane_heads.queued_at)
                ORDER BY commands.queued_at, commands.id
                LIMIT 1
            ) AS head ON true
        ) AS lane
    ) AS woken,
    EXISTS (SELECT FROM lane_heads) OR EXISTS (SELECT FROM tenant_turns WHERE contending) AS worth_ranking;

-- The standing of all tenants, and the foremost $3 of each offered profile: nobody behind them can be among $3 hand-outs.
-- A test compares what comes of it with the model, domain/rule.py. Tenants that are not among them are moved here.
-- name: rank
WITH woken AS (
    SELECT *
    FROM unnest($7::bigint[], $8::uuid[], $9::int[], $10::int[], $11::timestamptz[])
        AS woken (lane_id, tenant_id, requirement_id, base, queued_at)
), heads AS MATERIALIZED (
    SELECT lane_id, tenant_id, requirement_id, base, queued_at, at FROM lane_heads WHERE lane_id <> ALL ($7::bigint[])
    UNION ALL
    SELECT lane_id, tenant_id, requirement_id, base, queued_at, extract(epoch FROM queued_at)::double precision
    FROM woken
    WHERE queued_at IS NOT NULL
), slots AS MATERIALIZED (
    SELECT slots.profile_id, slots.slots, coalesce(profile_turns.v, 0) AS v
    FROM unnest($5::int[], $6::int[]) AS slots (profile_id, slots)
    LEFT JOIN profile_turns ON profile_turns.profile_id = slots.profile_id
    WHERE slots.slots > 0
), fitting AS MATERIALIZED (
    SELECT
        requirements.id AS requirement_id,
        profiles.id AS profile_id,
        requirements.preferred_region IN ('', profiles.region) AS at_home,
        bool_or(requirements.preferred_region IN ('', profiles.region)) OVER (PARTITION BY requirements.id) AS has_home
    FROM (SELECT DISTINCT requirement_id FROM heads) AS wanted
    JOIN requirements ON requirements.id = wanted.requirement_id
    CROSS JOIN slots
    JOIN profiles ON profiles.id = slots.profile_id
    WHERE requirements.capabilities <@ profiles.capabilities
        AND (requirements.tool = '' OR requirements.tool = ANY (profiles.tools))
), waiting AS MATERIALIZED (
    -- The best published place of each tenant's jobs that may go there now: priority first, then age, as one number.
    SELECT
        heads.tenant_id,
        fitting.profile_id,
        min(heads.at - $1 - 1e7 * (heads.base + least(floor(greatest($1 - heads.at, 0) / 6), 500))) AS place
    FROM heads
    JOIN fitting ON fitting.requirement_id = heads.requirement_id
    WHERE fitting.at_home OR NOT fitting.has_home OR $1 - heads.at >= $2
    GROUP BY heads.tenant_id, fitting.profile_id
), held AS MATERIALIZED (
    SELECT tenant_id, profile_id, count(*)::int AS jobs
    FROM commands
    WHERE status IN ('assigned', 'running')
    GROUP BY tenant_id, profile_id
), present AS MATERIALIZED (
    SELECT
        tenants.id AS tenant_id,
        plans.max_concurrent_jobs AS weight,
        coalesce(running.jobs, 0) AS running,
        coalesce(corrected.turn, tenant_turns.turn, 0) AS turn,
        coalesce(tenant_turns.contending, false) AS contending,
        tenant_turns.mean_seconds
    FROM (SELECT tenant_id FROM waiting UNION SELECT tenant_id FROM held) AS here
    JOIN tenants ON tenants.id = here.tenant_id AND tenants.status = 'active'
    JOIN plans ON plans.name = tenants.plan
    LEFT JOIN tenant_turns ON tenant_turns.tenant_id = tenants.id
    LEFT JOIN unnest($12::uuid[], $13::double precision[]) AS corrected (tenant_id, turn)
        ON corrected.tenant_id = tenants.id
    LEFT JOIN (SELECT tenant_id, sum(jobs)::int AS jobs FROM held GROUP BY tenant_id) AS running
        ON running.tenant_id = tenants.id
), servable AS MATERIALIZED (
    SELECT waiting.tenant_id, waiting.profile_id, waiting.place, present.weight, present.turn, present.contending
    FROM waiting
    JOIN present ON present.tenant_id = waiting.tenant_id
    WHERE present.running < present.weight
), before AS MATERIALIZED (
    SELECT slots.profile_id, greatest(slots.v, min(floor(servable.turn)) FILTER (WHERE servable.contending)) AS v
    FROM slots
    LEFT JOIN servable ON servable.profile_id = slots.profile_id
    GROUP BY slots.profile_id, slots.v
), joined AS MATERIALIZED (
    SELECT
        servable.tenant_id,
        servable.contending,
        CASE WHEN servable.contending THEN servable.turn ELSE greatest(servable.turn, min(before.v)) END AS turn
    FROM servable
    JOIN before ON before.profile_id = servable.profile_id
    GROUP BY servable.tenant_id, servable.contending, servable.turn
), virtual_times AS (
    SELECT slots.profile_id, greatest(slots.v, min(floor(joined.turn))) AS v
    FROM slots
    LEFT JOIN servable ON servable.profile_id = slots.profile_id
    LEFT JOIN joined ON joined.tenant_id = servable.tenant_id
    GROUP BY slots.profile_id, slots.v
), active AS MATERIALIZED (
    SELECT taking_part.profile_id, sum(taking_part.weight)::int AS weight
    FROM (
        SELECT profile_id, tenant_id, weight FROM servable
        UNION
        SELECT held.profile_id, held.tenant_id, present.weight
        FROM held
        JOIN present ON present.tenant_id = held.tenant_id
    ) AS taking_part
    GROUP BY taking_part.profile_id
), chosen AS MATERIALIZED (
    SELECT foremost.tenant_id
    FROM slots
    JOIN active ON active.profile_id = slots.profile_id
    CROSS JOIN LATERAL (
        SELECT servable.tenant_id
        FROM servable
        JOIN joined ON joined.tenant_id = servable.tenant_id
        LEFT JOIN held ON held.tenant_id = servable.tenant_id AND held.profile_id = servable.profile_id
        WHERE servable.profile_id = slots.profile_id
        ORDER BY
            coalesce(held.jobs, 0) >= slots.slots::double precision * servable.weight / active.weight,
            floor(joined.turn),
            servable.place
        FETCH FIRST $3 ROWS WITH TIES
    ) AS foremost
    WHERE slots.profile_id = ANY ($4::int[])
    UNION
    SELECT tenant_id FROM joined WHERE tenant_id = ANY ($12::uuid[])
), moved AS (
    INSERT INTO tenant_turns (tenant_id, turn, contending)
    SELECT tenant_id, turn, true
    FROM joined
    WHERE NOT contending AND tenant_id NOT IN (SELECT tenant_id FROM chosen)
    ON CONFLICT (tenant_id) DO UPDATE SET turn = excluded.turn, contending = true
), rested AS (
    UPDATE tenant_turns
    SET contending = false
    WHERE contending AND tenant_id NOT IN (SELECT tenant_id FROM joined) AND tenant_id <> ALL ($12::uuid[])
), lanes_of_chosen AS MATERIALIZED (
    SELECT heads.lane_id, heads.tenant_id, heads.base, heads.requirement_id, heads.queued_at
    FROM heads
    JOIN chosen ON chosen.tenant_id = heads.tenant_id
    WHERE heads.requirement_id IN (SELECT requirement_id FROM fitting)
), depth AS (
    SELECT least(1 + ceil($3 * 2.0 / greatest(count(*), 1)), $3 + 1)::int AS jobs FROM chosen
)
SELECT
    (SELECT count(*)::int FROM heads) AS lanes,
    (SELECT jobs FROM depth) AS depth,
    (SELECT json_agg(virtual_times) FROM virtual_times) AS virtual_times,
    (SELECT json_agg(active) FROM active) AS active,
    (
        SELECT json_agg(tenant)
        FROM (
            SELECT present.tenant_id, present.weight, present.running, joined.turn, present.contending, present.mean_seconds
            FROM chosen
            JOIN present ON present.tenant_id = chosen.tenant_id
            JOIN joined ON joined.tenant_id = chosen.tenant_id
        ) AS tenant
    ) AS tenants,
    (SELECT json_agg(held) FROM held WHERE tenant_id IN (SELECT tenant_id FROM chosen)) AS held,
    (SELECT json_agg(lanes_of_chosen) FROM lanes_of_chosen) AS lanes_of_chosen,
    (
        SELECT json_agg(job)
        FROM lanes_of_chosen
        CROSS JOIN LATERAL (
            SELECT commands.lane_id, commands.id, commands.attempt, commands.queued_at
            FROM commands
            WHERE commands.lane_id = lanes_of_chosen.lane_id
                AND commands.status = 'queued'
                AND commands.queued_at >= lanes_of_chosen.queued_at
            ORDER BY commands.queued_at, commands.id
            LIMIT (SELECT jobs FROM depth)
        ) AS job
    ) AS jobs,
    (
        SELECT json_agg(requirements)
        FROM requirements
        WHERE requirements.id IN (SELECT requirement_id FROM lanes_of_chosen)
    ) AS requirements,
    (
        SELECT json_agg(profiles) FROM profiles WHERE profiles.id IN (SELECT profile_id FROM slots)
    ) AS profiles;

-- More jobs of the same lanes, when a batch has used up those that `rank` gave.
-- name: deeper
SELECT job.lane_id, job.id, job.attempt, job.queued_at
FROM unnest($1::bigint[], $2::timestamptz[]) AS lane (id, queued_at)
CROSS JOIN LATERAL (
    SELECT commands.lane_id, commands.id, commands.attempt, commands.queued_at
    FROM commands
    WHERE commands.lane_id = lane.id AND commands.status = 'queued' AND commands.queued_at >= lane.queued_at
    ORDER BY commands.queued_at, commands.id
    LIMIT $3
) AS job
ORDER BY job.queued_at, job.id;

-- Rows are locked in one order before any is written. A job that was cancelled or expired meanwhile is left out.
-- name: assign_if_queued
WITH wanted AS (
    SELECT job, agent, profile, cost, token_hash
    FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::double precision[], $5::text[])
        AS wanted (job, agent, profile, cost, token_hash)
), locked AS (
    SELECT commands.id
    FROM commands
    WHERE commands.id = ANY ($1::uuid[]) AND commands.status = 'queued'
    ORDER BY commands.tenant_id, commands.id
    FOR NO KEY UPDATE
)
UPDATE commands
SET status = 'assigned',
    platform_agent_id = wanted.agent,
    profile_id = wanted.profile,
    cost = wanted.cost,
    attempt = commands.attempt + 1,
    slot_held = true,
    assigned_at = $6::timestamptz,
    started_at = NULL,
    progress = NULL,
    message = NULL,
    auth_token_hash = wanted.token_hash,
    auth_token_expires_at = $6::timestamptz + commands.timeout_seconds * interval '1 second' + interval '10 minutes'
FROM wanted
JOIN locked ON locked.id = wanted.job
WHERE commands.id = wanted.job
RETURNING
    commands.id, commands.tenant_id, commands.platform_agent_id, commands.attempt, commands.type,
    commands.payload::text AS payload, commands.timeout_seconds, commands.traceparent, commands.queued_at;

-- All else that the claim writes; no part reads another.
-- name: note
WITH turns AS (
    INSERT INTO tenant_turns (tenant_id, turn, contending, mean_seconds)
    SELECT tenant_id, turn, contending, mean_seconds
    FROM unnest($1::uuid[], $2::double precision[], $3::boolean[], $4::double precision[])
        AS latest (tenant_id, turn, contending, mean_seconds)
    ON CONFLICT (tenant_id) DO UPDATE
    SET turn = excluded.turn, contending = excluded.contending, mean_seconds = excluded.mean_seconds
), virtual_times AS (
    INSERT INTO profile_turns (profile_id, v)
    SELECT profile_id, v FROM unnest($5::int[], $6::double precision[]) AS latest (profile_id, v)
    ON CONFLICT (profile_id) DO UPDATE SET v = excluded.v
), heads AS (
    INSERT INTO lane_heads (lane_id, tenant_id, requirement_id, base, queued_at, at)
    SELECT lanes.id, lanes.tenant_id, lanes.requirement_id, lanes.base, latest.queued_at, extract(epoch FROM latest.queued_at)
    FROM unnest($7::bigint[], $8::timestamptz[]) AS latest (lane_id, queued_at)
    JOIN lanes ON lanes.id = latest.lane_id
    ON CONFLICT (lane_id) DO UPDATE SET queued_at = excluded.queued_at, at = excluded.at
), emptied AS (
    DELETE FROM lane_heads WHERE lane_id = ANY ($9::bigint[])
), folded AS (
    DELETE FROM turn_corrections WHERE id = ANY ($10::bigint[])
), looked AS (
    DELETE FROM lane_wakes WHERE id = ANY ($11::bigint[])
)
UPDATE fleet SET mean_seconds = $12 WHERE mean_seconds <> $12;
