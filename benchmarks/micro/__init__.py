"""pytest-benchmark suites: one hot function a test."""
