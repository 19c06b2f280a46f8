"""Redis: wake-ups, event streams and the auth-failure limiter. It makes things quick; Postgres alone decides."""
