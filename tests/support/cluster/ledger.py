"""Checker of a load: what its callers were told, beside what the agents wrote down."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.support.cluster.load import PARTS, WITHIN
from tests.support.cluster.witness import Journal, Line

LATE = 20.0  # seconds that a wait may end after its deadline on a machine that is busy
_ON_THE_WAY = 3.0  # seconds before the death of a process in which a message may have come to it
_UNNOTICED = 0.5  # seconds after it in which a message may still go into its mailbox, on a machine that is busy


def broken(
    notes: dict[str, list[Any]], journal: Journal, letters: dict[str, int], agents: list[str], died: dict[str, float]
) -> Iterator[str]:
    """Yield the promises that were broken. `letters`: agent -> dead letters of tells to it; `died`: agent -> when
    its process ended."""
    lines = journal.lines()
    begun: dict[str, Counter[int]] = {}
    for line in lines:
        begun.setdefault(line.what, Counter())[line.number] += 1
    yield from (f"unexpected: {what}" for what in notes["unexpected"])
    yield from _asks(notes["asks"], begun.get("ask", Counter()))
    yield from _streams(notes["streams"], begun.get("stream", Counter()))
    yield from _tells(notes["tells"], lines, letters, died)
    yield from _casts(notes["casts"], lines, [agent for agent in agents if agent not in died])
    for kind in ("asks", "streams", "casts"):
        yield from (f"{kind}: {note} ended too late" for note in notes[kind] if note[3] > WITHIN + LATE)


def _asks(asks: list[Any], begun: Counter[int]) -> Iterator[str]:
    for number, name, outcome, _ in asks:
        if begun[number] > 1:
            yield f"ask {number} of {name} was begun {begun[number]} times"
        if not isinstance(outcome, str) and (outcome != number + 1 or not begun[number]):
            yield f"ask {number} of {name} was answered {outcome}, and begun {begun[number]} times"


def _streams(streams: list[Any], begun: Counter[int]) -> Iterator[str]:
    for number, name, outcome, _ in streams:
        if begun[number] > 1:
            yield f"stream {number} of {name} was begun {begun[number]} times"
        if not isinstance(outcome, str) and outcome != list(range(PARTS)):
            yield f"stream {number} of {name} ended well with the parts {outcome}"


def _tells(tells: list[Any], lines: list[Line], letters: dict[str, int], died: dict[str, float]) -> Iterator[str]:
    sent = {number: (name, begun) for number, name, outcome, begun in tells if not isinstance(outcome, str)}
    told = {number for number, *_ in tells}
    came: dict[tuple[str, str], list[int]] = {}
    for line in lines:
        if line.what == "tell" and line.number in told:
            came.setdefault((line.agent, line.incarnation), []).append(line.number)
    numbers = [number for some in came.values() for number in some]
    for number, count in Counter(numbers).items():
        if count > 1:
            yield f"tell {number} came {count} times"
    for (agent, _), some in came.items():
        if some != sorted(some):
            yield f"tells of {agent} came out of order: {some}"
    arrived = set(numbers)
    missing: dict[str, list[int]] = {}
    for number, (agent, begun) in sent.items():
        with_its_process = -_UNNOTICED <= died.get(agent, 0.0) - begun <= _ON_THE_WAY
        if number not in arrived and not with_its_process:
            missing.setdefault(agent, []).append(number)
    for agent, some in missing.items():
        if len(some) > letters.get(agent, 0):
            yield f"{agent} has {letters.get(agent, 0)} dead letters, and of its tells {some} did not come"


def _casts(casts: list[Any], lines: list[Line], agents: list[str]) -> Iterator[str]:
    came: dict[int, Counter[tuple[str, str]]] = {}
    for line in lines:
        if line.what == "cast":
            came.setdefault(line.number, Counter())[line.agent, line.incarnation] += 1
    for number, complete, seen, _ in casts:  # agents whose process has ended, and is not back, listen to nothing
        readers = came.get(number, Counter())
        twice = [agent for agent, count in readers.items() if count > 1]
        if twice:
            yield f"broadcast {number} came twice to {twice}"
        silent = set(agents) - {agent for agent, _ in readers}
        if complete is True and silent:
            yield f"broadcast {number} did not come to {sorted(silent)}, and its receipt says {seen}"
