"""Tells whoever watches of one answer: that it begins, each piece of its text, and how it ended."""

import time
from itertools import count
from secrets import token_hex

from three_mode.messages import Chunk, Usage, UsageUpdate
from three_mode.serve import wire_out
from three_mode.serve.events import RESPONSE_CHUNK, RESPONSE_COMPLETE, RESPONSE_START, EventHub

# It names a request and guards nothing: a name of this process, and a number.
_PROCESS, _numbers = f"chatcmpl-{token_hex(12)}", count(1)


class Narration:
    """One answer, from its start."""

    __slots__ = ("_events", "_model", "_started", "number", "used")

    def __init__(self, events: EventHub, model: str) -> None:
        self._events, self._model = events, model
        self.number = f"{_PROCESS}{next(_numbers):08x}"
        self.used = Usage()
        self._started = time.perf_counter()
        events.publish(RESPONSE_START, request_id=self.number, model=model)

    def chunk(self, chunk: Chunk) -> None:
        """A piece of it has gone to the client."""
        if chunk.text:
            self._events.publish(RESPONSE_CHUNK, request_id=self.number, text=chunk.text)
        elif isinstance(chunk, UsageUpdate):
            self.used = chunk.usage

    def end(self, error: BaseException | None = None) -> None:
        """It is whole, or failed."""
        if not self._events:
            return
        said = {"error": type(error).__name__} if error else {}
        self._events.publish(
            RESPONSE_COMPLETE,
            request_id=self.number,
            model=self._model,
            latency=time.perf_counter() - self._started,
            usage=wire_out.usage(self.used),
            **said,
        )
