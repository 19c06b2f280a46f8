"""The long-poll broker: hands jobs to agents and takes their reports."""
