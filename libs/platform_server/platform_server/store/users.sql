-- name: insert_if_new
INSERT INTO users (issuer, subject) VALUES ($1, $2) ON CONFLICT (issuer, subject) DO NOTHING;

-- name: find
SELECT id FROM users WHERE issuer = $1 AND subject = $2;
