"""The rules and the wire formats of Platform Agents: pure, no I/O."""
