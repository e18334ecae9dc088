"""Tracer that writes spans to a file, one line each, and makes ids without a library."""

import contextvars
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_current: contextvars.ContextVar[str] = contextvars.ContextVar("span", default="")


class FileTracer:
    def __init__(self) -> None:
        self._path = Path(os.environ["TRACE_FILE"])

    def outgoing(self, to: str, handler: str) -> str:
        return _current.get() or f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"

    @contextmanager
    def handling(self, agent: str, handler: str, trace: str, sender: str) -> Iterator[None]:
        token = _current.set(trace)
        try:
            yield
        finally:
            _current.reset(token)
            with self._path.open("a") as file:
                file.write(f"{trace.split('-')[1]} {sender} {agent} {handler}\n")


def opentelemetry() -> Any:
    """Real tracer, whose spans go to the same file."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    from three_mode.agents.handlers.tracing import OpenTelemetry

    provider = TracerProvider()
    out = Path(os.environ["TRACE_FILE"]).open("a", buffering=1)  # noqa: SIM115  # open as long as its process
    exporter = ConsoleSpanExporter(out=out, formatter=lambda span: f"{span.to_json(indent=None)}\n")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OpenTelemetry(provider)
