-- Whose credentials or description changed, and by which transaction: whoever trusts what it looked up reads here, twice a
-- second, what it must look up again. By triggers, so that no way to change an agent is forgotten.
CREATE TABLE agent_changes (
    agent_id   uuid NOT NULL,
    xid        xid8 NOT NULL DEFAULT pg_current_xact_id(),
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX agent_changes_xid ON agent_changes (xid);
CREATE INDEX agent_changes_changed_at ON agent_changes (changed_at);

-- Changes are rare; whoever makes one clears away what everybody has read long ago.
CREATE FUNCTION note_agent_change() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    changed uuid;
BEGIN
    IF TG_TABLE_NAME = 'agents' THEN
        changed := old.id;
    ELSE
        changed := old.agent_id;
    END IF;
    INSERT INTO agent_changes (agent_id) VALUES (changed);
    DELETE FROM agent_changes
    WHERE ctid = ANY (
        ARRAY(
            SELECT ctid
            FROM agent_changes
            WHERE changed_at < clock_timestamp() - interval '1 hour'
            LIMIT 100
            FOR UPDATE SKIP LOCKED
        )
    );
    RETURN NULL;
END;
$$;

CREATE TRIGGER note_agent_change
AFTER UPDATE OF admin_state, is_platform_agent, capabilities, tools, region, max_concurrent, deleted_at OR DELETE ON agents
FOR EACH ROW EXECUTE FUNCTION note_agent_change();

-- A new key is in nobody's memory.
CREATE TRIGGER note_agent_change
AFTER UPDATE OF key_hash, agent_id, expires_at OR DELETE ON agent_keys
FOR EACH ROW EXECUTE FUNCTION note_agent_change();
