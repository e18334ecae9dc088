"""Events of a call say how the client of the endpoint knows it: the number of its answer, and the model it named."""

from contextvars import Token
from itertools import count
from secrets import token_hex

from three_mode.events.telling import ASKED_AS
from three_mode.events.values import AskedAs
from three_mode.serve.events import EventHub

# It names a request and guards nothing: a name of this process, and a number.
_CHANCE = token_hex(32)
_PROCESS, _numbers = f"chatcmpl-{token_hex(12)}", count(1)


def new_number() -> str:
    """The number of an answer."""
    return f"{_PROCESS}{next(_numbers):08x}"


def new_name(start: str, letters: int) -> str:
    """A name of an answer that guards nothing: its start, the process by chance, and a number in it."""
    return f"{start}{_CHANCE[: letters - 8]}{next(_numbers):08x}"


class KnownAs:
    """Context of the calls behind one answer. Their events carry its `number`, where somebody watches."""

    __slots__ = ("_known", "_model", "_watched", "number")

    def __init__(self, events: EventHub, model: str, number: str | None = None) -> None:
        self.number = new_number() if number is None else number
        self._model, self._watched = model, bool(events)
        self._known: Token[AskedAs | None] | None = None

    def __enter__(self) -> str:
        if self._watched:
            self._known = ASKED_AS.set(AskedAs(self.number, self._model))
        return self.number

    def __exit__(self, *error: object) -> None:
        if self._known is not None:
            ASKED_AS.reset(self._known)
