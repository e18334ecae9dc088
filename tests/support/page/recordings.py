"""Recordings that a test writes, record by record."""

from collections.abc import Iterable
from pathlib import Path

from three_mode.agents.handlers.codec import encode
from three_mode.agents.recording.events import HEAD, Did, Ended, Event, Got, Made, pack
from three_mode.agents.wire.importing import ClassPath

BEGAN = 1.8e9


def write(path: Path, events: Iterable[Event]) -> Path:
    """Write a recording."""
    path.write_bytes(HEAD + b"".join(pack(event) for event in events))
    return path


def made(agent: str, at: float = 0.0) -> Made:
    """An agent was made, so many seconds after the run began."""
    return Made(agent, BEGAN + at, ClassPath("program", "Scout"), encode([]), 1)


def message(agent: str, turn: int, at: float, sender: str = "cli/1", text: str = "hello") -> list[Event]:
    """A message that took a millisecond, and an effect halfway."""
    what = encode(["market/0", "quote", encode([text])])
    return [
        Got(agent, BEGAN + at, turn, "score", encode([text]), False, False, sender),
        Did(agent, BEGAN + at + 0.0005, turn, "ask", what, encode(2.5), True),
        Ended(agent, BEGAN + at + 0.001, turn, "result", encode({"score": turn})),
    ]


def run(messages: int, agents: int = 3) -> list[Event]:
    """A run in which agents get messages in turn, one each 10 ms."""
    events: list[Event] = [made(f"scout/{number}") for number in range(agents)]
    for number in range(messages):
        events += message(f"scout/{number % agents}", number // agents + 1, number * 0.01)
    return events
