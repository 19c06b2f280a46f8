"""The scanner agent: registers, polls, scans, reports; HTTP only."""
