"""Record what agents do, and replay it."""
