-- A ban is never made shorter by a later one.
-- name: ban
INSERT INTO banned_ips (address, banned_until)
VALUES ($1, clock_timestamp() + $2::interval)
ON CONFLICT (address) DO UPDATE
SET banned_until = greatest(banned_ips.banned_until, excluded.banned_until),
    created_at = CASE
        WHEN banned_ips.banned_until > clock_timestamp() THEN banned_ips.created_at ELSE excluded.created_at
    END;

-- name: live
SELECT address AS network, banned_until, created_at, banned_until - clock_timestamp() AS left
FROM banned_ips
WHERE banned_until > clock_timestamp();

-- name: page
SELECT address AS network, banned_until, created_at, banned_until - clock_timestamp() AS left
FROM banned_ips
WHERE banned_until > clock_timestamp()
    AND ($1::timestamptz IS NULL OR (created_at, address) < ($1, $2::inet))
ORDER BY created_at DESC, address DESC
LIMIT $3;

-- name: lift
DELETE FROM banned_ips WHERE address >>= $1::inet AND banned_until > clock_timestamp() RETURNING address;

-- name: delete_over
DELETE FROM banned_ips WHERE banned_until <= clock_timestamp();
