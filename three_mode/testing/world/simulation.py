"""Simulation: machines in memory: processes, the links between them, files, and one seed for all chance."""

import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from random import Random
from typing import Any

from three_mode.agents.host.watchdog import culprit
from three_mode.testing.world.links import AT_ONCE, Delays, Parts, Weather, WorldLink
from three_mode.testing.world.processes import WorldProcess
from three_mode.testing.world.registry_files import RegistryFiles
from three_mode.testing.world.schedule import BEGINNING, Schedule
from three_mode.testing.world.trace import WorldTrace

_FIRST_FILE = 1_000_000  # number of the first simulated socket


class Simulation:
    """One run of a world."""

    def __init__(self, seed: int, delays: Delays, nodes: int = 1) -> None:
        self.seed, self._delays, self._several_nodes = seed, delays, nodes > 1
        self.schedule = Schedule(self.stream("turns"))
        self.chance = self.stream("chance")
        self.trace = WorldTrace()
        self.weather = Weather()
        self.processes: dict[int, WorldProcess] = {}
        self.subjects: dict[str, list[Any]] = defaultdict(list)
        """Subject -> the connections of nodes that subscribe to it (nats.py)."""
        self.endpoints: dict[str, Any] = {}
        """Endpoint -> the sockets of the bus that are bound there (sockets.py)."""
        self._files: dict[tuple[str, str], RegistryFiles] = {}
        self._next_file = _FIRST_FILE
        self._links: dict[str, int] = {}
        self.scripts: list[Any] = []
        """Scripts of the models in this world (models.py)."""

    def stream(self, name: str) -> Random:
        """Return random numbers of the seed for one purpose, which others do not change."""
        return Random(f"{self.seed}/{name}")  # they are to be foreseen

    # processes --------------------------------------------------------------------------------------------------------
    def running_process(self) -> WorldProcess:
        """Return the process that runs now."""
        process: WorldProcess = self.schedule.running.process
        return process

    def start_process(self, label: str, node: str) -> WorldProcess:
        """Start a process on a machine."""
        if self._several_nodes and label != node:
            label = f"{node}/{label}"
        process = WorldProcess(self, label, node)
        self.processes[process.pid] = process
        self.note(label, f"starts as {process.pid}")
        return process

    def count_processes(self) -> int:
        """Return how many processes there have been."""
        return len(self.processes)

    def process(self, label: str) -> WorldProcess | None:
        """Return the process that runs under a label now."""
        for process in reversed(self.processes.values()):
            if process.label == label and process.alive:
                return process
        return None

    def culprit(self) -> dict[str, str]:
        """Return the agent and handler that run now, and the line."""
        frame = sys._getframe(2)
        return culprit(threading.get_ident()) | {"where": f"{frame.f_code.co_filename}:{frame.f_lineno}"}

    # the machine ------------------------------------------------------------------------------------------------------
    def link(self, one: WorldProcess, other: WorldProcess, kind: str, arrive: Callable[[Parts], None]) -> WorldLink:
        """Return a new way from one process to another."""
        name = f"{one.label} > {other.label}"
        key = f"{name} {kind}"
        number = self._links[key] = self._links.get(key, 0) + 1
        random = self.stream(f"{key} {number}")
        delays = AT_ONCE if kind == "stream" else self._delays
        return WorldLink(name, self.schedule, random, delays, self.weather, self.trace, arrive)

    def registry_files(self, node: str, bus: str) -> RegistryFiles:
        """Return the files of a bus on a machine."""
        return self._files.setdefault((node, bus), RegistryFiles())

    def next_file(self) -> int:
        """Return a number for a new socket."""
        self._next_file += 1
        return self._next_file

    # what happens -----------------------------------------------------------------------------------------------------
    @property
    def now(self) -> float:
        """Seconds since the world began."""
        return self.schedule.time() - BEGINNING

    def note(self, where: str, what: str) -> None:
        """Add something to the trace."""
        self.trace.note(self.schedule.time(), where, what)

    def bury(self) -> None:
        """End all that still waits, once nothing happens any more."""
        for process in self.processes.values():
            process.alive = False
            for loop in process.loops:
                loop.die()
        for process in self.processes.values():
            for loop in process.loops:
                loop.bury()
