-- name: write
INSERT INTO admin_audit (user_id, action, subject_id, address, detail) VALUES ($1, $2, $3, $4, $5::json);
