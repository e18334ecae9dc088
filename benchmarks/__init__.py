"""Benchmarks of three-mode beside its peers: `python -m benchmarks NAME`."""
