"""The kernel's floor: programs in C that only wake each other, the same way as the members of a bus do, and stamp.

`floor.c` is compiled by the benchmark, into `build/`. What a subject takes above it is what it could still save.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.bus_peers.board import Children
from benchmarks.harness import FLOOR
from benchmarks.harness.registry import FOLDER

SUBJECT, ON_ONE_CORE = FLOOR, f"{FLOOR}, on one core"
HOW_TO_GET = "apt-get install gcc"
_SOURCE = Path(__file__).with_name("floor.c")
_PROGRAM = FOLDER.parent / "build" / "floor"


class Times(NamedTuple):
    """Seconds of one round: until the bells were rung, until the first process was up, and until the last was."""

    rung: float
    first: float
    last: float


class NoCompiler(Exception):
    """The program cannot be compiled here; the text is the command that helps."""


def program() -> Path:
    """Compiles the program unless that is done, and returns its path."""
    if not _PROGRAM.exists() or _PROGRAM.stat().st_mtime < _SOURCE.stat().st_mtime:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise NoCompiler(HOW_TO_GET)
        _PROGRAM.parent.mkdir(exist_ok=True)
        made = _PROGRAM.with_suffix(".new")
        subprocess.run([compiler, "-std=gnu11", "-O2", "-o", str(made), str(_SOURCE)], check=True)
        made.replace(_PROGRAM)
    return _PROGRAM


class Floor:
    """A running program. It waits for its input while others are measured."""

    def __init__(self, children: Children, *words: object) -> None:
        self._process = subprocess.Popen(
            [str(program()), *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        children.adopt(self._process)

    def rounds(self, count: int, pause: float = 0.0, nap: float = 0.0) -> Iterator[Times]:
        """Times of each of `count` rounds, `pause` seconds apart; the writer looks every `nap` seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count} {round(1e9 * pause)} {round(1e9 * nap)}\n")
        self._process.stdin.flush()
        said = [int(word) / 1e9 for word in self._process.stdout.readline().split()]
        if len(said) != 3 * count:
            raise RuntimeError(f"the floor said {len(said)} times for {count} rounds")
        return map(Times, said[::3], said[1::3], said[2::3])


def wakes(children: Children, processes: int, share: int = 1) -> Floor:
    """One writer that wakes so many processes; `share` of them watch one eventfd."""
    return Floor(children, "wake", processes, share)


def pings(children: Children, seats: int) -> Floor:
    """Two processes that answer each other, on `seats` cores."""
    return Floor(children, "ping", seats)
