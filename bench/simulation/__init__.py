"""The rule that hands out jobs, run over time on a virtual clock: hours of load in seconds."""
