"""PlatformQueueWorker: recovery, expiry, stored priorities, archive, retention."""
