"""Rings carrier, the default on Linux: rings in shared memory, doorbells, and a registry on a Unix socket."""
