"""The embedded local stack behind make up, make demo and the tests."""
