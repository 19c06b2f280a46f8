"""PlatformQueueWorker: recovery, expiry, stored priorities, retention."""
