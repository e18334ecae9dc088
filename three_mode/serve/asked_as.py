"""Events of a call say how the client of the endpoint knows it: the number of its answer, and the model it named."""

from contextvars import Token
from itertools import count
from secrets import token_hex

from three_mode.events.telling import ASKED_AS
from three_mode.events.values import AskedAs
from three_mode.serve.events import EventHub

# It names a request and guards nothing: a name of this process, and a number.
_PROCESS, _numbers = f"chatcmpl-{token_hex(12)}", count(1)


class KnownAs:
    """Context of the calls behind one answer. Their events carry its `number`, where somebody watches."""

    __slots__ = ("_known", "_model", "_watched", "number")

    def __init__(self, events: EventHub, model: str, number: str | None = None) -> None:
        self.number = f"{_PROCESS}{next(_numbers):08x}" if number is None else number
        self._model, self._watched = model, bool(events)
        self._known: Token[AskedAs | None] | None = None

    def __enter__(self) -> str:
        if self._watched:
            self._known = ASKED_AS.set(AskedAs(self.number, self._model))
        return self.number

    def __exit__(self, *error: object) -> None:
        if self._known is not None:
            ASKED_AS.reset(self._known)
