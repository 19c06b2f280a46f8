"""What several services put together in the same way out of kit, store and signals."""
