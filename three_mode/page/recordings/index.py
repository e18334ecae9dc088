"""Index of a recording: places of it by agent, time and turn, and the states of all agents at a place.

A place is the number of a record. Blocks are indexed as they are asked for, and all of them in order by `read_on`,
which a thread calls while the first places are looked at already.
"""

import threading
from array import array
from collections.abc import Iterator

from three_mode.agents.recording.events import Event, Made, unpack_body
from three_mode.page.recordings.cells import CELL, GOT, AgentNumbers, cells_of, find, find_back
from three_mode.page.recordings.file import BLOCK, RecordingFile
from three_mode.page.recordings.tally import AgentStates, AgentTally

_KEPT_EVERY = 64  # blocks between two tallies that are kept


class RecordingIndex:
    """Places of a recording."""

    def __init__(self, file: RecordingFile) -> None:
        self.file = file
        self._numbers = AgentNumbers()
        self._cells: list[bytes | None] = [None] * file.blocks
        self._known = 0  # blocks that are indexed, from the first one on
        self._tallies = [AgentTally()]
        self._whens: dict[int, float] = {}
        self._lock = threading.RLock()

    @property
    def known(self) -> int:
        """Records that are indexed, from the first one on."""
        return min(self._known * BLOCK, self.file.count)

    @property
    def agents(self) -> list[str]:
        """Agents that were seen so far."""
        return self._numbers.names[1:]

    def read_on(self, blocks: int = 8) -> bool:
        """Index some more blocks; return whether there are further ones."""
        for block in range(self._known, min(self._known + blocks, self.file.blocks)):
            self._cells_of(block)
            with self._lock:
                self._known = max(self._known, block + 1)
                if self._known % _KEPT_EVERY == 0 and self._known * BLOCK <= self.file.count:
                    self._tally_at(self._known // _KEPT_EVERY)
        return self._known < self.file.blocks

    def grow(self) -> bool:
        """Go on with what was written since; return whether there is more."""
        with self._lock:
            partial = self.file.count // BLOCK  # the block that gets the next record
            if not self.file.grow():
                return False
            self._known = min(self._known, partial)
            del self._cells[partial:]
            self._cells += [None] * (self.file.blocks - len(self._cells))
            return True

    def event(self, place: int) -> Event:
        """Read the record at a place; ValueError where it cannot be read."""
        body, at = self.file.body(place)
        return unpack_body(body, at)

    def events(self, start: int, stop: int) -> Iterator[tuple[int, Event | str]]:
        """Read the records from `start` to `stop`, with their places; a text says why one cannot be read."""
        start, stop = max(0, start), min(stop, self.file.count)
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            first = block * BLOCK
            bodies = self.file.bodies(block)
            for place in range(max(start, first), min(stop, first + len(bodies))):
                try:
                    yield place, unpack_body(bodies[place - first], place)
                except ValueError as error:
                    yield place, str(error)

    def following(self, agent: str, place: int, *whats: int, at_most: int | None = None) -> int | None:
        """Return the next place behind `place` where an agent has a record of these kinds: GOT where none are given.

        `at_most`: blocks that are indexed for it, if they are not yet; None: as many as it takes.
        """
        start, left = place + 1, at_most
        for block in range(max(0, start) // BLOCK, self.file.blocks):
            if left is not None and self._cells[block] is None:
                if not left:
                    return None
                left -= 1
            cells = self._cells_of(block)
            first = max(0, start - block * BLOCK)
            found = [at for cell in self._wanted(agent, whats) if (at := find(cells, cell, first)) >= 0]
            if found:
                return block * BLOCK + min(found)
        return None

    def previous(self, agent: str, place: int, *whats: int) -> int | None:
        """Return the last place before `place` where an agent has a record of these kinds: GOT where none are given."""
        for block in range(min(place // BLOCK, self.file.blocks - 1), -1, -1):
            cells = self._cells_of(block)
            before = min(BLOCK, place - block * BLOCK)
            found = max((find_back(cells, cell, before) for cell in self._wanted(agent, whats)), default=-1)
            if found >= 0:
                return block * BLOCK + found
        return None

    def at_time(self, when: float) -> int:
        """Return the first place at a time or after it; the last place where there is none.

        Processes of a run write for themselves, so that times of neighbours may be in another order: by the time of a
        block's first record, and then from record to record.
        """
        low, high = 0, max(0, self.file.blocks - 1)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.when_of_block(middle) < when else (low, middle - 1)
        for place, event in self.events(low * BLOCK, (low + 1) * BLOCK + 1):
            if not isinstance(event, str) and event.when >= when:
                return place
        return max(0, self.file.count - 1)

    def when_of_block(self, block: int) -> float:
        """Return the time of the first record of a block that can be read."""
        when = self._whens.get(block)
        if when is None:
            read = self.events(block * BLOCK, (block + 1) * BLOCK)
            try:
                when = self.event(block * BLOCK).when
            except ValueError:
                when = next((event.when for _, event in read if not isinstance(event, str)), 0.0)
            self._whens[block] = when
        return when

    def overview(self, points: int = 400) -> list[tuple[int, float]]:
        """Return places spread over the recording, with their times."""
        if not self.file.count:
            return []
        apart = max(1, self.file.blocks // points)
        found = [(block * BLOCK, self.when_of_block(block)) for block in range(0, self.file.blocks, apart)]
        return [*found, (self.file.count - 1, self.last_time())]

    def last_time(self) -> float:
        """Return the time of the last record that can be read."""
        try:
            return self.event(self.file.count - 1).when
        except ValueError:
            last = self.file.blocks - 1
            whens = [e.when for _, e in self.events(last * BLOCK, self.file.count) if not isinstance(e, str)]
            return whens[-1] if whens else self.when_of_block(last)

    def states_at(self, place: int) -> AgentStates | None:
        """Return the states of all agents before the record at a place; None where it is not indexed up to there."""
        block, within = divmod(max(0, min(place, self.file.count)), BLOCK)
        with self._lock:
            if block > self._known:
                return None
            kept = min(block // _KEPT_EVERY, len(self._tallies) - 1)
            tally = self._tallies[kept].copy()
            for each in range(kept * _KEPT_EVERY, block):
                self._add(tally, each, BLOCK)
            if within:
                self._add(tally, block, within)
            return tally.states(self._numbers.names)

    def place_of_turn(self, agent: str, turn: int) -> int | None:
        """Return the place where an agent began with a message, by its number at this agent."""
        place, count = -1, 0
        while (found := self.following(agent, place)) is not None:
            place, count = found, count + 1
            if count >= turn and self._turn_of(place) == turn:  # a host that crashed counts anew: never more than these
                return place
        return None

    def begin_of(self, place: int) -> int | None:
        """Return the place where the agent of a record began with the message that the record is about."""
        event = self.event(place)
        if isinstance(event, Made):
            return None
        before = place + 1
        while (found := self.previous(event.agent, before)) is not None:
            if self._turn_of(found) == event.turn:
                return found
            before = found
        return None

    def _turn_of(self, place: int) -> int:
        event = self.event(place)
        return 0 if isinstance(event, Made) else event.turn

    def _wanted(self, agent: str, whats: tuple[int, ...]) -> list[bytes]:
        """Return the cells of an agent's records of these kinds; none while it was not seen."""
        number = self._numbers.get(agent)  # another thread may be adding some
        return [] if number is None else [array("I", [number << 3 | what]).tobytes() for what in whats or (GOT,)]

    def _cells_of(self, block: int) -> bytes:
        cells = self._cells[block]
        if cells is None:
            with self._lock:
                cells = self._cells[block]
                if cells is None:
                    cells = self._cells[block] = cells_of(self.file.bodies(block), self._numbers).tobytes()
        return cells

    def _tally_at(self, kept: int) -> None:
        """Keep the tally of all blocks before `kept * _KEPT_EVERY`; called in order."""
        if kept == len(self._tallies):
            tally = self._tallies[-1].copy()
            for block in range((kept - 1) * _KEPT_EVERY, kept * _KEPT_EVERY):
                self._add(tally, block, BLOCK)
            self._tallies.append(tally)

    def _add(self, tally: AgentTally, block: int, records: int) -> None:
        tally.add(memoryview(self._cells_of(block))[: records * CELL].cast("I"), len(self._numbers.names))
