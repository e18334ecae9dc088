"""Growth: a context with more sequences, made on a thread of its own while the engine decodes in its present one.

To clear the KV cache takes half a second a GiB, and most programs have one caller. So a model is loaded with few
sequences, and gets more once calls wait for one, or once the text of a finished call had to go for another call. How
many there may be is measured at that time, on the engine's thread, unless this machine has measured the file before.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from local_models.errors import LocalModelError
from local_models.llama import Context, ContextShape, Weights
from local_models.llama.sizing import WIDTHS


@dataclass(frozen=True, slots=True)
class Room:
    """How far a context may grow."""

    shape: ContextShape  #: shape with the most sequences that the memory has room for
    measure: Callable[[], tuple[int, str]]  #: returns the best number of sequences on this machine, and why, in words


class Growth:
    """Decides when a context gets wider, and makes the wider one.

    All but the making is on the engine's thread. One context is made at a time: until it is `adopted` there is no
    other. Where there is no memory for it, the present context stays.
    """

    def __init__(self, weights: Weights, room: Room) -> None:
        self._weights = weights
        self._room = room
        self._thread: threading.Thread | None = None
        self._displaced = 0
        self.most = room.shape.sequences
        """Sequences that the context may have."""
        self.words = ""
        """Why it may have so many; "" before that was measured."""

    def consider(self, slots: int, needed: int, displaced: int, adopt: Callable[[Context], None]) -> None:
        """Begins to make a wider context where calls need more than the `slots` that there are, or where more texts
        were `displaced` since the last one.

        `adopt` gets it on the thread that made it, and raises a `LocalModelError` where the engine has ended.
        """
        if self._thread is not None or slots >= self.most or (needed <= slots and displaced == self._displaced):
            return
        self._displaced = displaced
        if not self.words:
            try:
                self.most, self.words = self._room.measure()
            except LocalModelError:  # no memory to measure in
                self.most = slots
            if slots >= self.most:
                return
        wanted = max(needed, slots + 1)
        count = min(next((width for width in WIDTHS if width >= wanted), self.most), self.most)
        self._thread = threading.Thread(target=self._make, args=(count, adopt), name="local-model-grow", daemon=False)
        self._thread.start()  # the interpreter waits for it: what llama.cpp does has to end before

    def _make(self, sequences: int, adopt: Callable[[Context], None]) -> None:
        most = self._room.shape
        shape = msgspec.structs.replace(most, sequences=sequences, tokens=most.tokens // most.sequences * sequences)
        try:
            with self._weights.in_use():
                context = Context(self._weights, shape)
                try:
                    adopt(context)
                except LocalModelError:
                    context.close()
        except LocalModelError:  # no memory, or the model is closed; `_thread` stays, so that nothing else is tried
            pass

    @property
    def making(self) -> bool:
        """Whether a context is being made now, which takes a core."""
        return self._thread is not None and self._thread.is_alive()

    def adopted(self) -> None:
        """Lets the context grow again later."""
        self._thread = None

    def join(self) -> None:
        """Waits until no context is being made."""
        if self._thread is not None:
            self._thread.join()
