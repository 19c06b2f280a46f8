-- One acting replica of a worker. The epoch rises when the holder changes, so an old holder's writes match nothing.
-- name: take_or_renew
INSERT INTO worker_leases (name, holder, epoch, expires_at)
VALUES ($1, $2, 1, clock_timestamp() + $3)
ON CONFLICT (name) DO UPDATE
SET holder = excluded.holder,
    epoch = worker_leases.epoch + (worker_leases.holder <> excluded.holder)::int,
    expires_at = excluded.expires_at
WHERE worker_leases.holder = excluded.holder OR worker_leases.expires_at <= clock_timestamp()
RETURNING epoch;

-- Held to the end of the transaction: nobody takes the lease over while its holder writes.
-- name: hold_if_current
SELECT true
FROM worker_leases
WHERE name = $1 AND holder = $2 AND epoch = $3 AND expires_at > clock_timestamp()
FOR SHARE;

-- The row stays: an epoch that began anew would be an old one again.
-- name: give_up_if_held
UPDATE worker_leases SET expires_at = clock_timestamp() WHERE name = $1 AND holder = $2;
