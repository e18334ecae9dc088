"""Isolated models: a worker process runs the model, so that a native crash ends its calls and not the program."""

from local_models.isolated.client import IsolatedBackend

__all__ = ["IsolatedBackend"]
