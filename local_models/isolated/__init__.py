"""A model in a process of its own: a native crash ends its calls with an error, and the process is started again."""

from local_models.isolated.client import IsolatedBackend

__all__ = ["IsolatedBackend"]
