DROP TABLE bootstrap_token_registrations;
DROP TABLE bootstrap_tokens;
ALTER TABLE agents DROP CONSTRAINT agents_platform_owner;
ALTER TABLE agents DROP COLUMN region;
ALTER TABLE agents DROP COLUMN is_platform_agent;
