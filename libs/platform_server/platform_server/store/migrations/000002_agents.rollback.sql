DROP TABLE agent_presence;
DROP TABLE agent_keys;
DROP TABLE agents;
