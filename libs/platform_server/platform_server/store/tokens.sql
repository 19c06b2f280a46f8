-- name: insert
INSERT INTO bootstrap_tokens (
    id, token_hash, token_prefix, description, max_uses, required_capabilities, required_tools, required_region,
    created_at, updated_at, expires_at, created_by
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now(), now(), now() + $9, $10);

-- The public part may be shared by several tokens; the hash tells which one it is.
-- name: with_prefix
SELECT id, token_hash
FROM bootstrap_tokens
WHERE token_prefix = $1;

-- name: take_use_if_usable
UPDATE bootstrap_tokens
SET current_uses = current_uses + 1,
    status = CASE WHEN current_uses + 1 = max_uses THEN 'exhausted' ELSE status END,
    updated_at = clock_timestamp()
WHERE id = $1 AND status = 'active' AND current_uses < max_uses AND expires_at > clock_timestamp()
RETURNING id;

-- name: revoke_if_not_revoked
UPDATE bootstrap_tokens
SET status = 'revoked', revoked_by = $2, revoked_at = clock_timestamp(), revoke_reason = $3, updated_at = clock_timestamp()
WHERE id = $1 AND status <> 'revoked'
RETURNING id;

-- name: find
SELECT
    id, token_prefix, description,
    CASE WHEN status = 'active' AND expires_at <= clock_timestamp() THEN 'expired' ELSE status END AS status,
    max_uses, current_uses,
    coalesce(required_capabilities, '{}') AS required_capabilities,
    coalesce(required_tools, '{}') AS required_tools,
    required_region, expires_at,
    created_by, revoked_by, revoked_at, revoke_reason, created_at, updated_at
FROM bootstrap_tokens
WHERE id = $1;

-- name: page
SELECT
    id, token_prefix, description, seen.status, max_uses, current_uses,
    coalesce(required_capabilities, '{}') AS required_capabilities,
    coalesce(required_tools, '{}') AS required_tools,
    required_region, expires_at, created_by, revoked_by, revoked_at, revoke_reason, created_at, updated_at
FROM bootstrap_tokens
CROSS JOIN LATERAL (
    SELECT
        CASE
            WHEN bootstrap_tokens.status = 'active' AND bootstrap_tokens.expires_at <= clock_timestamp() THEN 'expired'
            ELSE bootstrap_tokens.status
        END AS status
) AS seen
WHERE ($1::text IS NULL OR seen.status = $1)
    AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3;

-- name: record
INSERT INTO bootstrap_token_registrations (token_id, agent_id, agent_name, address, outcome, reason)
VALUES ($1, $2, $3, $4, $5, $6);

-- name: registrations
SELECT id, agent_id, agent_name, address, outcome, reason, created_at
FROM bootstrap_token_registrations
WHERE token_id = $1 AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3;
