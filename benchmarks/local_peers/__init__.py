"""Subjects of the local benchmarks: engines to compare, and models of random weights."""
