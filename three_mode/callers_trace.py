"""The trace that a request from outside is part of: `traceparent` and `tracestate` of W3C, in the headers of HTTP, the
metadata of gRPC, and `_meta` of MCP.

What is done within the block belongs to it: messages to agents carry it on, and spans of this process are children of
the caller's span. OpenTelemetry is asked only where the program has it: nothing is imported here.
"""

import re
import sys
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

from three_mode.handling import HandledCall, current

# Version, trace, span and flags; later versions may have more behind them. No version ff, and no id of zeros.
_PARENT = re.compile(r"((?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2})(-.*)?")
_LONGEST_STATE = 8192  # characters: a longer one is left out, as W3C allows
_NONE = nullcontext()


def callers_trace(parent: object, state: object = None) -> AbstractContextManager[None]:
    """The block of a request that came with these two values; one without a trace, or with none that can be read, is
    left as it is."""
    found = _PARENT.fullmatch(parent) if isinstance(parent, str) else None
    if found is None or (found[2] and found[1].startswith("00")):
        return _NONE
    return _CallersTrace(found[1], state if isinstance(state, str) and len(state) <= _LONGEST_STATE else "")


class _CallersTrace:
    """The trace of one request, while it is answered."""

    __slots__ = ("_mark", "_parent", "_state", "_token")

    def __init__(self, parent: str, state: str) -> None:
        self._parent, self._state = parent, state
        self._mark: Any = None
        self._token: Any = None

    def __enter__(self) -> None:
        self._mark = current.set(HandledCall(trace=self._parent))
        if "opentelemetry.trace" in sys.modules:
            from opentelemetry import context
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

            carrier = {"traceparent": self._parent, "tracestate": self._state}
            self._token = context.attach(TraceContextTextMapPropagator().extract(carrier))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            from opentelemetry import context

            context.detach(self._token)
        current.reset(self._mark)
