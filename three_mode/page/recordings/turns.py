"""A turn: one message of an agent, with what it did and its outcome."""

import msgspec

from three_mode.agents.recording.events import Ended, Event, Got, Made
from three_mode.page.recordings.cells import DID, ENDED, GOT, PART
from three_mode.page.recordings.index import RecordingIndex
from three_mode.page.recordings.shown import ShownStep, step_of

MOST_STEPS = 200  #: steps of a turn that are shown
_MOST_READ = 4096  # records of an agent that may lie between a message and its outcome
_MOST_INDEXED = 16  # blocks that are indexed to find the outcome, while the recording is not


class ShownTurn(msgspec.Struct, frozen=True):
    """What an agent got, did, and how it ended."""

    agent: str
    turn: int
    got: ShownStep | None
    """None: it was made, or its `started` ran."""
    steps: list[ShownStep]
    ended: ShownStep | None
    """None: it has not ended, in what was recorded."""
    more: int = 0
    """Steps that are not shown."""


def turn_at(index: RecordingIndex, place: int) -> ShownTurn:
    """Return the turn that a record is about; ValueError where that record cannot be read."""
    event = index.event(place)
    if isinstance(event, Made):
        return _turn(event.agent, 0, [(place, event), *_records(index, event.agent, place, 0)])
    begin = index.begin_of(place)
    if begin is None:  # what an agent does while it is made
        return _turn(event.agent, event.turn, [(place, event)])
    return _turn(
        event.agent, event.turn, [(begin, index.event(begin)), *_records(index, event.agent, begin, event.turn)]
    )


def _records(index: RecordingIndex, agent: str, begin: int, turn: int) -> list[tuple[int, Event]]:
    """Read what belongs to a turn, from its begin to its outcome."""
    found: list[tuple[int, Event]] = []
    place = begin
    for _ in range(_MOST_READ):
        coming = index.following(agent, place, GOT, DID, PART, ENDED, at_most=_MOST_INDEXED)
        if coming is None:
            break
        place, event = coming, index.event(coming)
        if isinstance(event, Made) or event.turn != turn:
            if turn == 0:
                break  # what it does in its constructor and in `started` comes before its first message
            continue
        found.append((place, event))
        if isinstance(event, Ended) and event.outcome not in ("part", "cancel"):
            break
    return found


def _turn(agent: str, turn: int, records: list[tuple[int, Event]]) -> ShownTurn:
    got = next((step_of(place, event) for place, event in records[:1] if isinstance(event, Got)), None)
    rest = records[1:] if got is not None else records
    ended = None
    if rest and isinstance(rest[-1][1], Ended) and rest[-1][1].outcome not in ("part", "cancel"):
        ended, rest = step_of(*rest[-1]), rest[:-1]
    shown = [step_of(place, event) for place, event in rest[:MOST_STEPS]]
    return ShownTurn(agent, turn, got, shown, ended, len(rest) - len(shown))
