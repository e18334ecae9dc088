"""Kept prompts of one model: found by the engine, restored and saved on two threads.

The engine's thread asks what is kept, orders states, and gives states away; each of these is a short walk under a
lock. The thread that reads takes pieces from memory or disk, checks them, and puts them together; the one that writes
cuts what is new out of a state and writes its file. What waits to be written has a bound: beyond it states are not
kept, which is counted.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from local_models.kept import state as states
from local_models.kept.files import PieceHeader
from local_models.kept.folder import KeptFolder
from local_models.kept.index import KeptPiece, PieceIndex, RecentPieces, text_of
from local_models.kept.state import BadState, Bytes, StateLayout, StatePart
from local_models.kept.threads import WorkThread

logger = logging.getLogger("local_models")
WAITING = 64 << 20  # bytes of states that wait for the writing thread
OPEN_SECONDS = 2.0  # longest wait of a load for the folder
READ_SECONDS = 1.0  # longest wait of a closing model for a state that is being read
END_SECONDS = 5.0  # longest wait of a closing model for what is still to be written


class KeptOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where prompts are kept, and how many."""

    token_bytes: int  #: bytes of the state of a token, about
    memory_bytes: int  #: most bytes in memory
    folder: str = ""  #: folder of the files; "": none
    disk_bytes: int = 0  #: most bytes of all files in the folder


@dataclass(slots=True)
class KeptCounts:
    """Counts of kept prompts since the load."""

    saved_tokens: int = 0
    unsaved: int = 0  # prompts that were not kept since too much waited to be written
    memory_bytes: int = 0
    disk_bytes: int = 0
    refused: int = 0  # files


Restored = Callable[[Bytes | None, int, float], None]
"""Gets a state, its number of tokens, and the seconds it took, on the thread that reads; None: nothing is kept."""


class _Keep:
    """Pieces of one key: another set of adapters begins with none."""

    def __init__(self, options: KeptOptions) -> None:
        self.index = PieceIndex()
        self.memory = RecentPieces(options.memory_bytes)
        self.layout: StateLayout | None = None
        self.folder: KeptFolder | None = None
        self.opened = threading.Event()
        self.gone = False  # another key has taken its place, or states of this model have another form


class KeptPrompts:
    """What is kept of the prompts of one model.

    `key` names the model, its build and settings; it runs on a thread, since it may read the whole file.
    """

    def __init__(self, options: KeptOptions, key: Callable[[], str]) -> None:
        self._options = options
        self.token_bytes = max(options.token_bytes, 1)
        self._counts = KeptCounts()
        self._lock = threading.Lock()
        self._waiting = 0
        self._reads, self._writes = WorkThread("local-model-restore"), WorkThread("local-model-keep")
        self._keep = _Keep(options)
        self._open(self._keep, key)

    # --- the engine's side: short ---

    def wait_until_open(self, seconds: float = OPEN_SECONDS) -> None:
        """Waits until the files in the folder are known; after that time they are found later."""
        self._keep.opened.wait(seconds)

    def covered(self, tokens: Sequence[int]) -> int:
        """Returns how many tokens of the beginning of a text are kept."""
        with self._lock:
            return self._keep.index.covered(text_of(tokens))

    def missing(self, tokens: Sequence[int]) -> int:
        """Returns how many tokens of a text would be new here. Those that are kept are used by this."""
        text = text_of(tokens)
        with self._lock:
            keep = self._keep
            start, end = keep.index.missing(text)
            used = [part.piece for part in keep.index.cover(text)] if start == end else []
            for piece in used:
                keep.memory.use(piece)
        if used and keep.folder is not None:
            self._touch(keep.folder, used)
        return end - start

    def restore(self, tokens: Sequence[int], most: int, streams: int, then: Restored) -> None:
        """Orders the state of the beginning of a text, of `most` tokens at most."""
        keep, text = self._keep, text_of(tokens[:most])

        def work() -> None:
            found: tuple[Bytes | None, int] = (None, 0)
            started = time.perf_counter()
            try:
                found = self._assemble(keep, text, streams)
            finally:
                then(*found, time.perf_counter() - started)

        self._reads.run(work)

    def has_room(self, size: int) -> bool:
        """Whether a state of so many bytes may wait to be written now."""
        return not self._waiting or self._waiting + size <= WAITING

    def save(self, tokens: Sequence[int], raw: Bytes) -> None:
        """Keeps what is new in the state of a sequence that begins with these tokens."""
        keep, size = self._keep, len(raw)
        if keep.gone:
            return
        with self._lock:
            if not self.has_room(size):
                self._counts.unsaved += 1
                return
            self._waiting += size

        def work() -> None:
            try:
                self._add(keep, text_of(tokens), raw)
            finally:
                with self._lock:
                    self._waiting -= size

        self._writes.run(work)

    def not_saved(self) -> None:
        """Counts a prompt whose state was lost before it could be read."""
        self._counts.unsaved += 1

    def start_over(self, key: Callable[[], str]) -> None:
        """Goes on with another key: what is kept belongs to other weights."""
        with self._lock:
            self._keep.gone = True
            self._keep = _Keep(self._options)
        self._open(self._keep, key)

    def counts(self) -> KeptCounts:
        """Returns the counts so far."""
        with self._lock:
            keep, counts = self._keep, self._counts
            counts.memory_bytes = keep.memory.size
            if keep.folder is not None:
                counts.disk_bytes, counts.refused = keep.folder.size, keep.folder.refused
            return counts

    def close(self) -> None:
        """Ends the threads, once all that waits is written; what takes longer than some seconds is not."""
        self._reads.end(READ_SECONDS)
        if not self._writes.end(END_SECONDS):
            logger.warning("a closing model did not wait longer for prompts to be kept")

    # --- on the two threads ---

    def _open(self, keep: _Keep, key: Callable[[], str]) -> None:
        if not self._options.folder:
            keep.opened.set()
            return

        def work() -> None:
            try:
                folder = KeptFolder(self._options.folder, self._options.disk_bytes, key())
                for name, header in folder.open():
                    self._know(keep, name, header)
                keep.folder = folder
            finally:
                keep.opened.set()

        self._reads.run(work)

    def _know(self, keep: _Keep, name: str, header: PieceHeader) -> None:
        """Adds a file that was found."""
        with self._lock:
            keep.layout = keep.layout or header.layout
            if header.layout == keep.layout:
                each = header.layout.token_bytes
                keep.index.add(KeptPiece(header.text, header.start, each, file=name))

    def _assemble(self, keep: _Keep, text: bytes, streams: int) -> tuple[Bytes | None, int]:
        """Puts the state of the beginning of a text together."""
        with self._lock:
            parts, layout = keep.index.cover(text), keep.layout
        cuts: list[StatePart] = []
        for part in parts:
            piece = part.piece
            data = self._data(keep, piece)
            if data is None:
                break
            cuts.append(StatePart(data, piece.count, part.start - piece.start, part.end - piece.start))
        if layout is None or not cuts or keep.gone:
            return None, 0
        return states.assemble(layout, cuts, streams), sum(each.end - each.start for each in cuts)

    def _data(self, keep: _Keep, piece: KeptPiece) -> Bytes | None:
        """The bytes of a piece, from memory or from its file."""
        with self._lock:
            data = piece.data
            keep.memory.use(piece)
        if data is not None:
            if piece.file and keep.folder is not None:
                self._touch(keep.folder, [piece])
            return data
        found = keep.folder.read(piece) if keep.folder is not None and piece.file else None
        with self._lock:
            if found is None or found[0] != keep.layout:
                keep.index.remove(piece)
                return None
            piece.data = found[1]
            self._forget(keep, keep.memory.add(piece))
        return found[1]

    def _add(self, keep: _Keep, text: bytes, raw: Bytes) -> None:
        """Adds the piece of a text that is new, and writes its file."""
        keep.opened.wait()
        if keep.gone:
            return
        try:
            found = states.parse(raw)
        except BadState as error:
            keep.gone = True
            logger.warning("prompts of this model are not kept, its states are of another kind: %s", error)
            return
        with self._lock:
            start, end = keep.index.missing(text)
            keep.layout = keep.layout or found.layout
            if found.layout != keep.layout or start >= end or end > found.tokens:
                return
        piece = KeptPiece(text[: 4 * end], start, found.layout.token_bytes, states.cut(found, start, end))
        if keep.folder is not None:
            piece.file = keep.folder.write(piece, found.layout)
        with self._lock:
            gone = keep.memory.add(piece)
            if piece in gone and not piece.file:
                return
            if keep.index.add(piece):
                self._counts.saved_tokens += piece.count
            self._forget(keep, gone)

    def _forget(self, keep: _Keep, pieces: Sequence[KeptPiece]) -> None:
        """Takes pieces out of memory, and out of the index where they have no file."""
        for piece in pieces:
            piece.data = None
            if not piece.file:
                keep.index.remove(piece)

    def _touch(self, folder: KeptFolder, pieces: Sequence[KeptPiece]) -> None:
        due = [piece for piece in pieces if piece.file and folder.due(piece)]
        for piece in due:
            self._writes.run(partial(folder.touch, piece))
