"""Micro benchmarks under pytest-benchmark: one hot function a test."""
