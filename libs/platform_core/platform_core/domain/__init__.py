"""The rules, as functions from facts to values. No I/O, no clock, no environment: time is an argument."""
