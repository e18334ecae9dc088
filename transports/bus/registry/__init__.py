"""The registry: who is on the bus, and the one place where file descriptors change hands."""
