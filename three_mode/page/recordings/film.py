"""Film of a recording: what a page asks for, step by step, while a thread indexes the rest of the file."""

import threading
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from three_mode.page.recordings.cells import DID, ENDED, GOT, MADE, PART
from three_mode.page.recordings.divergence import DivergenceSearch
from three_mode.page.recordings.file import RecordingFile
from three_mode.page.recordings.index import RecordingIndex
from three_mode.page.recordings.requests import request_at
from three_mode.page.recordings.shown import ShownRecord, line_of
from three_mode.page.recordings.tally import AgentStates
from three_mode.page.recordings.turns import ShownTurn, turn_at
from three_mode.page.spans import RequestTree

MOST_LINES = 200  #: lines asked for at once
_PAUSE = 0.002  # seconds of indexing between two looks whether a read has ended
_Asked = ParamSpec("_Asked")
_Answer = TypeVar("_Answer")


class FilmAbout(msgspec.Struct, frozen=True):
    """What a recording is, as far as it is indexed."""

    name: str
    records: int
    indexed: int
    """Records that are indexed: states of agents are known up to there."""
    begin: float
    end: float
    overview: list[tuple[int, float]]
    """Places spread over the recording, with their times."""
    notes: list[str]
    """What is missing of the run."""
    imports: list[str]
    """Import paths whose classes a replay may make; none: there is no replay."""


def _before_indexing(
    read: "Callable[Concatenate[Film, _Asked], _Answer]",
) -> "Callable[Concatenate[Film, _Asked], _Answer]":
    """Make a read one that indexing waits for: each of its reads of the file would else wait for the interpreter."""

    @wraps(read)
    def first(film: "Film", /, *args: _Asked.args, **kwargs: _Asked.kwargs) -> _Answer:
        mark = object()
        film.reads.add(mark)
        try:
            return read(film, *args, **kwargs)
        finally:
            film.reads.discard(mark)

    return first


class Film:
    """A recording that pages look at."""

    def __init__(self, path: str | Path, imports: Sequence[str] = ()) -> None:
        """Open a recording; ConfigurationError where the file is none. `imports`: what a replay may import."""
        self.name = Path(path).name
        self._file = RecordingFile(path)
        self.index = RecordingIndex(self._file)
        self.divergence = DivergenceSearch(self.index, imports)
        self.imports = list(imports)  #: import paths whose classes a replay may make
        self.reads: set[object] = set()  #: a mark for each read that runs
        self._closed = threading.Event()
        self._indexing: threading.Thread | None = None
        self._starting = threading.Lock()
        self._index_rest()

    async def close(self) -> None:
        """End what runs, and close the file."""
        await self.divergence.close()
        self.stop()

    def stop(self) -> None:
        """End the indexing, and close the file."""
        self._closed.set()
        if self._indexing is not None:
            self._indexing.join()
        self._file.close()

    @property
    def records(self) -> int:
        """Records that the file has."""
        return self._file.count

    @_before_indexing
    def about(self) -> FilmAbout:
        """Say what the recording is now: it may be written still."""
        if self.index.grow():
            self._index_rest()
        overview = self.index.overview()
        begin, end = (overview[0][1], overview[-1][1]) if overview else (0.0, 0.0)
        return FilmAbout(
            self.name, self._file.count, self.index.known, begin, end, overview, self._notes(), self.imports
        )

    @_before_indexing
    def lines(self, at: int, before: int = 20, after: int = 60) -> list[ShownRecord]:
        """Return the records around a place."""
        before, after = max(0, min(before, MOST_LINES)), max(1, min(after, MOST_LINES))
        return [line_of(place, event) for place, event in self.index.events(at - before, at + after)]

    @_before_indexing
    def step(self, at: int, agent: str = "", *, back: bool = False, message: bool = True) -> int | None:
        """Return the place of the next or the previous record; of an agent: of its message, or of any of its records.

        None where there is none.
        """
        if not agent:
            beside = at - 1 if back else at + 1
            return beside if 0 <= beside < self._file.count else None
        whats = (GOT,) if message else (MADE, GOT, DID, PART, ENDED)
        return self.index.previous(agent, at, *whats) if back else self.index.following(agent, at, *whats)

    @_before_indexing
    def at_time(self, when: float) -> int:
        """Return the place of a time."""
        return self.index.at_time(when)

    @_before_indexing
    def turn(self, at: int) -> ShownTurn:
        """Return the turn that a record is about."""
        return turn_at(self.index, at)

    @_before_indexing
    def agents(self, at: int) -> AgentStates | None:
        """Return the states of all agents with the record at a place; None where it is not indexed up to there."""
        return self.index.states_at(at + 1)

    @_before_indexing
    def request(self, at: int) -> RequestTree:
        """Return the tree of the request that a record belongs to."""
        return request_at(self.index, at)

    def _index_rest(self) -> None:
        with self._starting:
            if self._indexing is None or not self._indexing.is_alive():
                self._indexing = threading.Thread(target=self._read_on, name="recording index", daemon=True)
                self._indexing.start()

    def _read_on(self) -> None:
        try:
            while not self._closed.wait(_PAUSE if self.reads else 0) and (self.reads or self.index.read_on()):
                pass
        except ValueError:
            pass  # the file is shorter than it was: whoever asks for a record of it is told so

    def _notes(self) -> list[str]:
        end, file = self._file.read_end(), self._file
        notes = [f"the recording ended before its run did: {end}"] if end else []
        if file.damage:
            notes.append(file.damage)
        elif file.left_over:
            notes.append(f"{file.left_over} bytes at its end are no whole record")
        return notes
