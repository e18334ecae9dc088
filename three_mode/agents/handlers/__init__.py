"""Handlers: declaration, schema of type hints, encoding of calls and results, tracing."""
