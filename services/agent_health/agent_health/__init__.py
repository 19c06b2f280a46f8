"""PlatformAgentHealthChecker: heartbeats, stale agents, statistics."""
