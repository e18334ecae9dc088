"""Ledger of a run: what agents of all processes of a world have done, and what must never be so."""

import os
import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from three_mode.agents.calling.streams import CREDIT
from three_mode.testing.world.here import simulation

IN_HAND = 2  # parts of a stream beyond its credit: one that is made, one that is read


@dataclass
class Life:
    """One incarnation of an agent."""

    name: str
    pid: int
    begun_at: float
    ended: bool = False
    busy: bool = False
    """Whether it is at work, with one message at a time."""
    failed: bool = False
    """Whether a handler of it has raised."""
    heard: list[int] = field(default_factory=list)
    """Broadcasts that it has heard, in order."""

    @property
    def lives(self) -> bool:
        """Whether it is still there: it has not stopped, and its process runs."""
        process = simulation().processes.get(self.pid)
        return not self.ended and process is not None and process.alive


class Ledger:
    """Ledger of one run. It belongs to no process, so that it outlives all of them."""

    def __init__(self) -> None:
        self.lives: dict[str, list[Life]] = defaultdict(list)
        self.begun: dict[int, list[Life]] = defaultdict(list)
        """Message -> the incarnations that have begun with it."""
        self.produced: dict[int, int] = defaultdict(int)
        """Stream -> parts that its handler has made."""
        self.taken: dict[int, int] = defaultdict(int)
        """Stream -> parts that its reader has taken."""
        self.kept: dict[str, int] = defaultdict(int)
        """Agent -> the last state whose keeping was confirmed."""
        self.keeps = True
        """Whether what was kept outlives all that fails."""
        self.most_ahead = CREDIT + IN_HAND
        """Parts that a stream may be ahead of its reader."""
        self.problems: list[str] = []

    def wants(self, holds: object, problem: str) -> None:
        """Note a problem unless something holds. What a handler raises goes to its caller, who expects errors."""
        if not holds:
            self.problems.append(problem)

    def check(self) -> None:
        """Invariant: nothing is wrong."""
        assert not self.problems, self.problems[0]

    def begins(self, name: str) -> Life:
        """Note a new incarnation; there must be no other one of that name."""
        others = [life for life in self.lives[name] if life.lives]
        self.wants(not others, f"two incarnations of {name} at once: {others}")
        life = Life(name, os.getpid(), time.monotonic())
        self.lives[name].append(life)
        return life

    def begins_with(self, message: int, life: Life) -> None:
        """Note that an agent has begun with a message that was sent once."""
        self.wants(life.lives, f"message {message} was handled by an incarnation of {life.name} that has ended")
        self.begun[message].append(life)
        self.wants(len(self.begun[message]) == 1, f"message {message} was handled twice: {self.begun[message]}")

    def hears(self, number: int, life: Life) -> None:
        """Note that an agent has heard a broadcast: each comes once, and in order."""
        last = life.heard[-1] if life.heard else 0
        self.wants(last < number, f"{life.name} hears {number} after {last}")
        life.heard.append(number)

    def heard_by(self, number: int) -> set[str]:
        """Return the agents of which some incarnation has heard a broadcast."""
        return {name for name, lives in self.lives.items() for life in lives if number in life.heard}

    def check_restarts(self, name: str, limit: int, within: float) -> None:
        """Raise where an agent came back after failures of its own more often than its limits allow."""
        lives = self.lives[name]
        again = [after.begun_at for before, after in pairwise(lives) if before.failed]
        for place, first in enumerate(again):
            count = sum(first <= when < first + within for when in again[place:])
            assert count <= limit, f"{name} was restarted {count} times within {within:g} s; its limit is {limit}"


LEDGER = Ledger()
"""The ledger of the run that goes on: one world runs at a time."""


def new_ledger() -> Ledger:
    """Return an empty ledger, which agents use from now on."""
    global LEDGER
    LEDGER = Ledger()
    return LEDGER


def ledger() -> Ledger:
    """Return the ledger of the run that goes on."""
    return LEDGER
