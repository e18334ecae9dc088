"""Bus and peers of its benchmarks: for each a publisher and reader processes, with the same handlers and codec."""
