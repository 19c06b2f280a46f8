-- Platform jobs (specification, "Platform Job Fields").

ALTER TABLE commands ADD COLUMN is_platform_job BOOLEAN DEFAULT FALSE;
ALTER TABLE commands ADD COLUMN platform_agent_id UUID REFERENCES agents(id);
ALTER TABLE commands ADD COLUMN queued_at TIMESTAMPTZ;
ALTER TABLE commands ADD COLUMN queue_priority INT DEFAULT 0;
ALTER TABLE commands ADD COLUMN auth_token_hash VARCHAR(64);
ALTER TABLE commands ADD COLUMN auth_token_expires_at TIMESTAMPTZ;
ALTER TABLE commands ADD COLUMN retry_count INT DEFAULT 0;

-- Rises with every hand-out; a write under an older attempt is refused.
ALTER TABLE commands ADD COLUMN attempt INT NOT NULL DEFAULT 0 CHECK (attempt >= 0);
-- How every ended attempt ended: [{attempt, agent_id, assigned_at, ended_at, outcome, reason}].
ALTER TABLE commands ADD COLUMN attempt_log JSONB NOT NULL DEFAULT '[]';
-- Does it take one of its agent's slots? Stays true for a cancelled job until the agent confirms.
ALTER TABLE commands ADD COLUMN slot_held BOOLEAN NOT NULL DEFAULT FALSE;

ALTER TABLE commands ADD CONSTRAINT commands_queued CHECK (status <> 'queued' OR (queued_at IS NOT NULL AND NOT slot_held));
ALTER TABLE commands ADD CONSTRAINT commands_held CHECK (
    status NOT IN ('assigned', 'running')
    OR (slot_held AND platform_agent_id IS NOT NULL AND assigned_at IS NOT NULL AND attempt > 0
        AND auth_token_hash IS NOT NULL AND auth_token_expires_at IS NOT NULL)
);
ALTER TABLE commands ADD CONSTRAINT commands_retry_count CHECK (retry_count >= 0);
