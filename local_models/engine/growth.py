"""Growth: a context with more sequences, made on a thread of its own while the engine decodes in its present one.

To clear the KV cache takes half a second a GiB, and most programs have one caller. So a model is loaded with few
sequences, and gets more once calls wait for one, or once the text of a finished call had to go for another call. How
many there may be is measured at that time, on the engine's thread, unless this machine has measured the file before.
Memory is claimed before it is taken: for a moment both caches are there. A claim that is refused is made again later.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from local_models.backend import Claim, granted
from local_models.errors import LocalModelError
from local_models.llama import Context, ContextShape, Weights
from local_models.llama.sizing import WIDTHS

logger = logging.getLogger("local_models")
CLAIM_AGAIN = 5.0  # seconds between a claim of memory that was refused and the next


@dataclass(frozen=True, slots=True)
class Room:
    """How far a context may grow."""

    shape: ContextShape  #: shape with the most sequences that the memory has room for
    measure: Callable[[], tuple[int, str]]  #: returns the best number of sequences on this machine, and why, in words
    sequence_bytes: int = 0  #: bytes of the KV cache of a sequence
    claim: Claim = granted  #: asked before more memory is taken


class Growth:
    """Decides when a context gets wider, and makes the wider one.

    All but the making is on the engine's thread. One context is made at a time: until it is `adopted` or `declined`
    there is no other. Where there is no memory for it, the present context stays.
    """

    def __init__(self, weights: Weights, room: Room) -> None:
        self._weights = weights
        self._room = room
        self._thread: threading.Thread | None = None
        self._displaced = 0
        self._slots = self._count = 0  # sequences of the present context, and of the one that is made
        self._claims_again = 0.0  # time of the next claim, after one that was refused
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
        if time.monotonic() < self._claims_again:
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
        self._slots, self._count = slots, count
        self._thread = threading.Thread(target=self._make, args=(adopt,), name="local-model-grow", daemon=False)
        self._thread.start()  # the interpreter waits for it: what llama.cpp does has to end before

    def _make(self, adopt: Callable[[Context], None]) -> None:
        most, count = self._room.shape, self._count
        if not self._claim(self._slots + count):
            self._wait_for_room()
            return
        shape = msgspec.structs.replace(most, sequences=count, tokens=most.tokens // most.sequences * count)
        try:
            with self._weights.in_use():
                context = Context(self._weights, shape)
                try:
                    adopt(context)
                    return
                except LocalModelError:
                    context.close()
        except LocalModelError:  # no memory, or the model is closed; `_thread` stays, so that nothing else is tried
            pass
        self._claim(self._slots)

    def _claim(self, sequences: int) -> bool:
        return self._room.claim(sequences * self._room.sequence_bytes)

    def _wait_for_room(self) -> None:
        if not self._claims_again:
            logger.warning(
                "a local model stays at %d sequences: there is no room for the %d MiB of %d in the memory of its pool",
                self._slots,
                self._count * self._room.sequence_bytes >> 20,
                self._count,
            )
        self._claims_again = time.monotonic() + CLAIM_AGAIN
        self._thread = None

    @property
    def making(self) -> bool:
        """Whether a context is being made now, which takes a core."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def adopted(self) -> None:
        """Lets the context grow again later. The narrower one is closed by now."""
        self._claim(self._count)
        self._thread = None

    def declined(self) -> None:
        """Notes that the wider context could not be used and is closed: the present one is the last."""
        self._claim(self._slots)
        self.most = self._slots

    def join(self) -> None:
        """Waits until no context is being made."""
        thread = self._thread
        if thread is not None:
            thread.join()
