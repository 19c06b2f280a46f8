DROP TRIGGER note_agent_change ON agent_keys;
DROP TRIGGER note_agent_change ON agents;
DROP FUNCTION note_agent_change;
DROP TABLE agent_changes;
