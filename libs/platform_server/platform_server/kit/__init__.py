"""What every service is made with: settings, auth, problems, loops, batching, health, logs, metrics, tracing."""
