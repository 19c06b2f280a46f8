"""Takes tenants' jobs in: submit, list, get, cancel, statistics."""
