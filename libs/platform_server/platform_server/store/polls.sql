-- A held poll is a sign of life. The profile is what the agent's latest poll offered.
-- name: note_polls
INSERT INTO agent_presence (agent_id, last_seen_at, profile_id)
SELECT agent, clock_timestamp(), profile
FROM unnest($1::uuid[], $2::int[]) AS polled (agent, profile)
ORDER BY agent
ON CONFLICT (agent_id) DO UPDATE
SET last_seen_at = excluded.last_seen_at, profile_id = excluded.profile_id;

-- By the index of the queue: EXISTS would read the table from its front, whatever there is before the first that waits.
-- name: any_queued
SELECT (SELECT true FROM commands WHERE status = 'queued' ORDER BY queued_at, id LIMIT 1) IS TRUE;
