-- How a claim begins, in one round trip: what ended since the last one is folded in, the lanes that somebody touched are looked
-- at again, and the tenants are ranked (migration 000084). It runs in the claim's transaction, after its lock was taken.

-- What ended since the last claim: each attempt charges its tenant for its true length, and moves the mean lengths of the
-- tenant and of the fleet. That is domain/costs.py, `corrected` and `smoothed`, once more; a test compares the two.
CREATE FUNCTION fold_corrections(
    OUT ended bigint[],
    OUT tenants uuid[],
    OUT turns double precision[],
    OUT means double precision[],
    OUT fleet_mean double precision
)
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    one record;
    place int;
    turn double precision;
    moved double precision;
    length double precision;
BEGIN
    ended := '{}';
    tenants := '{}';
    SELECT mean_seconds INTO STRICT fleet_mean FROM fleet;
    FOR one IN
        SELECT
            latest.id,
            latest.charged,
            latest.held_seconds,
            tenants_there.id AS tenant_id,
            plans.max_concurrent_jobs AS weight,
            coalesce(tenant_turns.turn, 0) AS turn,
            tenant_turns.mean_seconds,
            coalesce(profile_turns.v, 0) AS v
        FROM (SELECT * FROM turn_corrections ORDER BY id LIMIT 1000) AS latest
        JOIN tenants AS tenants_there ON tenants_there.id = latest.tenant_id
        JOIN plans ON plans.name = tenants_there.plan
        LEFT JOIN tenant_turns ON tenant_turns.tenant_id = tenants_there.id
        LEFT JOIN profile_turns ON profile_turns.profile_id = latest.profile_id
        ORDER BY latest.id
    LOOP
        ended := ended || one.id;
        place := array_position(tenants, one.tenant_id);
        IF place IS NULL THEN
            tenants := tenants || one.tenant_id;
            place := cardinality(tenants);
            turns[place] := one.turn;
            means[place] := one.mean_seconds;
        END IF;
        turn := turns[place];
        length := CASE WHEN one.held_seconds IS NOT NULL THEN greatest(one.held_seconds, 0.1) END;
        -- An attempt without a length is refunded.
        moved := turn + (coalesce(length / greatest(fleet_mean, 0.1), 0) - one.charged) * 2 / one.weight;
        turns[place] := least(moved, greatest(turn, one.v + 20));
        IF length IS NOT NULL THEN
            means[place] := coalesce(means[place] + (length - means[place]) * 0.2, length);
            fleet_mean := fleet_mean + (length - fleet_mean) * 0.001;
        END IF;
    END LOOP;
END;
$$;

-- A poll each: its agent, its profile, how many jobs it wants. ``online_*``: the slots of the agents that are online, by profile.
-- ``at_instant`` NULL: now, by the clock; the start of the transaction was before the wait for the lock.
CREATE FUNCTION begin_claim(
    poll_agents uuid[],
    poll_profiles int[],
    poll_wanted int[],
    online_profiles int[],
    online_slots int[],
    patience double precision,
    at_instant timestamptz
) RETURNS json
LANGUAGE plpgsql VOLATILE
AS $$
#variable_conflict use_column
DECLARE
    instant timestamptz := coalesce(at_instant, clock_timestamp());
    folded record;
    offering json;
    batch int;
    offered int[];
    slot_profiles int[];
    slot_numbers int[];
    wakes bigint[];
    woken json;
    woken_lanes bigint[];
    woken_tenants uuid[];
    woken_requirements int[];
    woken_bases int[];
    woken_queued_at timestamptz[];
    ranking json;
BEGIN
    SELECT * INTO folded FROM fold_corrections();

    -- The agents that offer, as they stand now: disabled, draining and deleted ones get nothing. S_g: an agent with an open poll
    -- is there, even before its first heartbeat, and what offers a profile is there, whatever its latest noted poll offered.
    WITH agents_there AS MATERIALIZED (
        SELECT
            agents.id,
            agents.max_concurrent,
            (
                SELECT count(*) FROM commands WHERE commands.platform_agent_id = agents.id AND commands.slot_held
            )::int AS running,
            CASE WHEN agent_presence.online THEN NULL ELSE agent_presence.profile_id END AS unseen_profile
        FROM agents
        LEFT JOIN agent_presence ON agent_presence.agent_id = agents.id
        WHERE agents.id = ANY (poll_agents)
            AND agents.admin_state = 'enabled'
            AND agents.deleted_at IS NULL
            AND agents.is_platform_agent
    ), polls AS MATERIALIZED (
        SELECT polls.agent, polls.profile, greatest(0, least(polls.wanted, there.max_concurrent - there.running)) AS free
        FROM unnest(poll_agents, poll_profiles, poll_wanted) AS polls (agent, profile, wanted)
        JOIN agents_there AS there ON there.id = polls.agent
    ), there (profile, slots) AS (
        SELECT profile, slots FROM unnest(online_profiles, online_slots) AS online (profile, slots)
        UNION ALL
        SELECT unseen_profile, max_concurrent FROM agents_there WHERE unseen_profile IS NOT NULL
    ), at_least (profile, slots) AS (
        SELECT distinct_polls.profile, sum(agents_there.max_concurrent)
        FROM (SELECT DISTINCT agent, profile FROM polls) AS distinct_polls
        JOIN agents_there ON agents_there.id = distinct_polls.agent
        GROUP BY distinct_polls.profile
    ), slots AS (
        SELECT profile, max(slots)::int AS slots
        FROM (
            SELECT profile, sum(slots) AS slots FROM there GROUP BY profile
            UNION ALL
            SELECT profile, slots FROM at_least
        ) AS either
        GROUP BY profile
    )
    SELECT
        (SELECT json_agg(agents_there) FROM agents_there),
        (SELECT coalesce(sum(free), 0)::int FROM polls),
        (SELECT coalesce(array_agg(DISTINCT profile), '{}') FROM polls),
        (SELECT coalesce(array_agg(profile ORDER BY profile), '{}') FROM slots),
        (SELECT coalesce(array_agg(slots ORDER BY profile), '{}') FROM slots)
    INTO offering, batch, offered, slot_profiles, slot_numbers;

    -- The heads of lanes that somebody touched.
    WITH touching AS MATERIALIZED (
        SELECT id, lane_id, queued_at FROM lane_wakes ORDER BY id LIMIT 5000
    ), lane AS (
        SELECT lanes.id, lanes.tenant_id, lanes.requirement_id, lanes.base, head.queued_at
        FROM (SELECT lane_id, min(queued_at) AS since FROM touching GROUP BY lane_id) AS touched
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
    )
    SELECT
        (SELECT coalesce(array_agg(id), '{}') FROM touching),
        json_agg(lane),
        coalesce(array_agg(lane.id), '{}'),
        coalesce(array_agg(lane.tenant_id), '{}'),
        coalesce(array_agg(lane.requirement_id), '{}'),
        coalesce(array_agg(lane.base), '{}'),
        coalesce(array_agg(lane.queued_at), '{}')
    INTO wakes, woken, woken_lanes, woken_tenants, woken_requirements, woken_bases, woken_queued_at
    FROM lane;

    IF EXISTS (SELECT FROM lane_heads)
        OR EXISTS (SELECT FROM tenant_turns WHERE contending)
        OR EXISTS (SELECT FROM unnest(woken_queued_at) AS head (queued_at) WHERE queued_at IS NOT NULL)
    THEN
        ranking := rank_tenants(
            extract(epoch FROM instant)::double precision, patience, batch, offered, slot_profiles, slot_numbers,
            woken_lanes, woken_tenants, woken_requirements, woken_bases, woken_queued_at,
            folded.tenants, coalesce(folded.turns, '{}')
        );
    END IF;
    RETURN json_build_object(
        'now', instant,
        'fleet_mean', folded.fleet_mean,
        'ended', folded.ended,
        'corrected', folded.tenants,
        'turns', coalesce(folded.turns, '{}'),
        'means', coalesce(folded.means, '{}'),
        'offering', coalesce(offering, '[]'),
        'slot_profiles', slot_profiles,
        'slots', slot_numbers,
        'virtual_times', (SELECT coalesce(json_agg(profile_turns), '[]') FROM profile_turns),
        'wakes', wakes,
        'woken', coalesce(woken, '[]'),
        'ranking', ranking
    );
END;
$$;
