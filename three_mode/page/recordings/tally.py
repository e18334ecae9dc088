"""What all agents had, and which were busy, at a place of a recording: counted from cells. Pure."""

from array import array
from collections.abc import Iterable

import msgspec

from three_mode.page.recordings.cells import ENDED, GOT, MADE


class AgentStates(msgspec.Struct, frozen=True):
    """States of all agents at a place, in columns."""

    names: list[str]
    had: list[int]
    """Messages that it began with."""
    busy: list[int]
    """Messages that it is at."""
    made: list[int]
    """How often it was made: more than once, if it was restarted."""


class AgentTally:
    """Counts of agents by number, up to some place."""

    def __init__(self) -> None:
        self.had, self.busy, self.made = array("I"), array("I"), array("I")

    def copy(self) -> "AgentTally":
        """Return a tally that goes on from here."""
        new = AgentTally()
        new.had, new.busy, new.made = self.had[:], self.busy[:], self.made[:]
        return new

    def add(self, cells: Iterable[int], agents: int) -> None:
        """Count records, of agents whose numbers are below `agents`."""
        had, busy, made = self.had, self.busy, self.made
        missing = bytes(4 * max(0, agents - len(had)))
        for column in (had, busy, made):
            column.frombytes(missing)
        for cell in cells:
            what = cell & 7
            if what == GOT:
                had[cell >> 3] += 1
                busy[cell >> 3] += 1
            elif what == ENDED:
                if busy[cell >> 3]:
                    busy[cell >> 3] -= 1
            elif what == MADE:
                made[cell >> 3] += 1
                busy[cell >> 3] = 0  # what its host was at when it crashed never ends

    def states(self, names: list[str]) -> AgentStates:
        """Return the states of the agents that were made so far, or had a message."""
        had, busy, made = self.had, self.busy, self.made
        seen = [number for number in range(1, len(had)) if had[number] or made[number]]
        return AgentStates(
            [names[number] for number in seen],
            [had[number] for number in seen],
            [busy[number] for number in seen],
            [made[number] for number in seen],
        )
