"""What the five services share: Postgres, Redis and the service kit."""
