"""Growth: a context with more or longer sequences, made on a thread of its own while the engine decodes in its
present one.

To clear the KV cache takes half a second a GiB, and most programs have one caller with a short text. So a model is
loaded with few and short sequences. It gets more once calls wait for one, or once the text of a finished call had to go
for another call; and longer ones, of twice the length, once a call needs them. How many there may be is measured when
they are first needed, on the engine's thread, unless this machine has measured the file before. Longer sequences are
fewer, where the memory that is meant for the cache would not do; they get shorter again where calls wait for a place
and none of them needs so much. Memory is claimed before it is taken: for a moment
both caches are there. A claim that is refused is made again later.
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
from local_models.machine import available_bytes

logger = logging.getLogger("local_models")
CLAIM_AGAIN = 5.0  # seconds between a claim of memory that was refused and the next
SHORTEN_AGAIN = 5.0  # seconds between two changes of the length, where the second one makes it shorter


@dataclass(frozen=True, slots=True)
class Room:
    """How far a context may grow."""

    shape: ContextShape  #: shape with the most sequences that the memory has room for, of the length at load
    measure: Callable[[], tuple[int, str]]  #: returns the best number of sequences on this machine, and why, in words
    longest: int = 0  #: most tokens of a sequence; 0: as many as at load
    most_tokens: int = 0  #: tokens of all sequences that the memory is meant for; 0: those of `shape`
    fixed: bool = False  #: whether there are as many sequences as was configured, of whatever length
    token_bytes: int = 0  #: bytes of the KV cache of a token
    claim: Claim = granted  #: asked before more memory is taken


class Growth:
    """Decides when another context is needed, with more or longer sequences, and makes it.

    All but the making is on the engine's thread. One context is made at a time: until it is `adopted`, `put_off` or
    `declined` there is no other. Where there is no memory for it, the present context stays.
    """

    def __init__(self, weights: Weights, room: Room) -> None:
        self._weights = weights
        self._room = room
        self._thread: threading.Thread | None = None
        self._displaced = 0
        self._slots = self._count = 0  # sequences of the present context, and of the one that is made
        self._length = room.shape.tokens // room.shape.sequences  # tokens of a sequence of the present context
        self._next_length = self._length  # the same of the one that is made
        self._first = self._length  # the same at load
        self._shortens_again = 0.0  # time from which on sequences may get shorter
        self._claims_again = 0.0  # time of the next claim, after one that was refused
        self.longest = room.longest or self._length
        """Tokens that a sequence may have."""
        self.most = room.shape.sequences
        """Sequences that the context may have, while they are as short as at load."""
        self.words = ""
        """Why it may have so many; "" before that was measured."""

    def consider(
        self,
        slots: int,
        needed: int,
        displaced: int,
        adopt: Callable[[Context], None],
        length: int = 0,
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        """Begins to make another context where calls need more than the `slots` that there are, or where more texts
        were `displaced` since the last one, or where a call needs a sequence of `length` tokens: `needed` then
        reaches to the last sequence that holds a text.

        `adopt` gets it on the thread that made it, and raises a `LocalModelError` where the engine has ended. Where
        there is no memory for it, `refused` is called instead, on any thread.
        """
        if self._thread is not None:
            return
        if length > self._length:
            self._lengthen(slots, needed, length, adopt, refused)
        elif slots < self._most_of(self._length) and (needed > slots or displaced != self._displaced):
            self._widen(slots, needed, displaced, adopt, refused)

    def may_lengthen(self) -> bool:
        """Whether sequences may get longer, as far as is known now."""
        return self._length < self.longest and time.monotonic() >= self._claims_again

    def may_shorten(self, slots: int) -> bool:
        """Whether shorter sequences could be more than the `slots` that there are."""
        possible = self._thread is None and not self._room.fixed and slots < self._most_of(self._first)
        return possible and self._length > self._first and time.monotonic() >= self._shortens_again

    def shorten(
        self, slots: int, needed: int, length: int, adopt: Callable[[Context], None], refused: Callable[[], None]
    ) -> None:
        """Begins to make a context with more and shorter sequences, of at least `length` tokens, for the calls that
        wait."""
        self._shortens_again = time.monotonic() + SHORTEN_AGAIN
        shorter = self._first
        while shorter < length:
            shorter = min(2 * shorter, self.longest)
        most = self._most_of(shorter)
        if shorter < self._length and most > slots:
            self._next_length = shorter
            self._begin(slots, min(needed, most), adopt, refused)

    def _most_of(self, length: int) -> int:
        """The most sequences of a length."""
        if self._room.fixed:
            return self._room.shape.sequences
        tokens = self._room.most_tokens or self._room.shape.tokens
        return max(1, min(self.most, tokens // length))

    def _lengthen(
        self,
        slots: int,
        needed: int,
        length: int,
        adopt: Callable[[Context], None],
        refused: Callable[[], None],
    ) -> None:
        """Makes sequences longer, and fewer where the rest would stand empty: the cache stays small while it does."""
        longer = self._length
        while longer < min(length, self.longest):
            longer = min(2 * longer, self.longest)
        self._next_length = longer
        wanted = slots if self._room.fixed else max(needed, slots * self._length // longer, 1)
        self._begin(slots, min(slots, wanted, self._most_of(longer)), adopt, refused)

    def _widen(
        self,
        slots: int,
        needed: int,
        displaced: int,
        adopt: Callable[[Context], None],
        refused: Callable[[], None],
    ) -> None:
        if time.monotonic() < self._claims_again:
            return
        self._displaced = displaced
        if not self.words:
            try:
                self.most, self.words = self._room.measure()
            except LocalModelError:  # no memory to measure in
                self.most = slots
            if slots >= self._most_of(self._length):
                return
        wanted, most = max(needed, slots + 1), self._most_of(self._length)
        self._begin(slots, min(next((width for width in WIDTHS if width >= wanted), most), most), adopt, refused)

    def _begin(self, slots: int, count: int, adopt: Callable[[Context], None], refused: Callable[[], None]) -> None:
        self._slots, self._count = slots, count
        self._thread = threading.Thread(
            target=self._make, args=(adopt, refused), name="local-model-grow", daemon=False
        )  # not a daemon: the interpreter waits for it, since what llama.cpp does has to end before
        self._thread.start()

    def _make(self, adopt: Callable[[Context], None], refused: Callable[[], None]) -> None:
        count, tokens = self._count, self._count * self._next_length
        more = tokens * self._room.token_bytes
        if more > available_bytes() or not self._claim(self._slots * self._length + tokens):
            self._wait_for_room(more)
            refused()
            return
        shape = msgspec.structs.replace(self._room.shape, sequences=count, tokens=tokens)
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
        self.declined()
        refused()

    def _claim(self, tokens: int) -> bool:
        return self._room.claim(tokens * self._room.token_bytes)

    def _wait_for_room(self, more: int) -> None:
        if not self._claims_again:
            logger.warning(
                "a local model stays at %d sequences of %d tokens: the memory has no room for the %d MiB of %d of %d",
                self._slots,
                self._length,
                more >> 20,
                self._count,
                self._next_length,
            )
        self._next_length = self._length
        self._claims_again = time.monotonic() + CLAIM_AGAIN
        self._thread = None

    @property
    def making(self) -> bool:
        """Whether a context is being made now, which takes a core."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def adopted(self) -> None:
        """Lets the context grow again later. The one before is closed by now."""
        if self._next_length != self._length:
            self._shortens_again = time.monotonic() + SHORTEN_AGAIN
        self._length = self._next_length
        self._claim(self._count * self._length)
        self._thread = None

    def put_off(self) -> None:
        """Notes that the other context is not wanted any more, and is closed: another one may be made later."""
        self._next_length = self._length
        self._claim(self._slots * self._length)
        self._thread = None

    def declined(self) -> None:
        """Notes that the other context could not be made or used and is closed: the present one is the last."""
        self._claim(self._slots * self._length)
        self.most, self.longest = self._slots, self._length

    def join(self) -> None:
        """Waits until no context is being made."""
        thread = self._thread
        if thread is not None:
            thread.join()
