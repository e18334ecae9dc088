"""Hook for the logs of a program, and the request tracker of MRC's document.

`LLMCommunication(tracker=...)` takes any object with the four methods of `Tracker`, such as the document's
`MRCLoggingIntegration`.
"""

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self
from uuid import uuid4

from three_mode.compat.mrc.providers import BaseProvider, ConnectedProvider
from three_mode.compat.mrc.values import LLMResponse
from three_mode.observe.metrics import percentile

logger = logging.getLogger("three_mode.compat.mrc")
KEPT = 2048  # newest timings


class Tracker(Protocol):
    """What hears of each call."""

    def log_request_start(self, request_id: str, provider: str, messages: Sequence[Mapping[str, Any]]) -> object:
        """A call begins. `provider` is "" where one is still to be found."""

    def log_response_success(self, request_id: str, response: LLMResponse) -> object:
        """The answer came."""

    def log_error(self, request_id: str, error: Exception, context: dict[str, Any]) -> object:
        """The call failed."""

    def log_provider_switch(self, from_provider: str, to_provider: str, reason: str) -> object:
        """Another provider is tried. Called from the background thread of the connection."""


class TrackedCall:
    """One call, told to a tracker: a context around it, and `end` for its answer."""

    def __init__(self, tracker: Tracker | None, provider: BaseProvider, messages: Sequence[Mapping[str, Any]]) -> None:
        self.number, self.provider = uuid4().hex, provider
        self._tracker, self._messages = tracker, messages

    @property
    def _name(self) -> str:
        return str(getattr(self.provider, "name", type(self.provider).__name__))

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """The options of the call, with its number for the records of the connection."""
        if not isinstance(self.provider, ConnectedProvider):
            return given
        return given | {"metadata": {"request_id": self.number, **(given.get("metadata") or {})}}

    def end(self, response: LLMResponse) -> LLMResponse:
        """The answer came."""
        response.request_id = self.number
        if self._tracker is not None:
            self._tracker.log_response_success(self.number, response)
        return response

    def __enter__(self) -> Self:
        if self._tracker is not None:
            self._tracker.log_request_start(self.number, self._name, self._messages)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._tracker is not None and isinstance(error, Exception):
            self._tracker.log_error(self.number, error, {"provider": self._name})


class Timing(NamedTuple):
    """Timing of one call."""

    request_id: str
    response_time: float
    provider: str
    tokens_used: int


class RequestTracker:
    """The newest timings of calls."""

    def __init__(self) -> None:
        self.timings: deque[Timing] = deque(maxlen=KEPT)

    def record_timing(self, request_id: str, response_time: float, provider: str, tokens_used: int) -> None:
        """Records one call."""
        self.timings.append(Timing(request_id, response_time, provider, tokens_used))

    def p95(self) -> float | None:
        """Seconds that 95 % of the calls did not exceed; None: none was recorded."""
        return percentile(sorted(each.response_time for each in self.timings), 0.95)


def log_llm_info(**fields: Any) -> None:
    """Logs fields of a call at INFO, by the logger `three_mode.compat.mrc`; `record.llm` holds them."""
    logger.info("%s", fields.get("action", "llm"), extra={"llm": fields})


def log_llm_error(**fields: Any) -> None:
    """The same at ERROR."""
    logger.error("%s", fields.get("error_type", "llm_error"), extra={"llm": fields})
