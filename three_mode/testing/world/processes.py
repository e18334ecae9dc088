"""Processes of a world: event loops, sockets and a number, which all end together."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from three_mode.testing.world.links import Parts, WorldLink
from three_mode.testing.world.loop import WorldLoop
from three_mode.testing.world.schedule import Schedule

_FIRST_PID = 1001


class WorldSocket(Protocol):
    """A socket of a process."""

    def cut(self) -> None:
        """End with the process, which was killed."""
        ...


class ProcessOwner(Protocol):
    """The simulation, as its processes see it; `Simulation` says what each method does."""

    schedule: Schedule

    def count_processes(self) -> int: ...
    def next_file(self) -> int: ...
    def note(self, where: str, what: str) -> None: ...
    def link(
        self, one: "WorldProcess", other: "WorldProcess", kind: str, arrive: Callable[[Parts], None]
    ) -> WorldLink: ...


class WorldProcess:
    """One process. `label` is its name in traces and faults; `node` the machine that it runs on."""

    def __init__(self, simulation: ProcessOwner, label: str, node: str) -> None:
        self.simulation, self.label, self.node = simulation, label, node
        self.pid = _FIRST_PID + simulation.count_processes()
        self.alive = True
        self.exit_code: int | None = None
        """Its exit code, or a signal's number below 0; None while it runs."""
        self.failure: BaseException | None = None
        """What ended it, where that was an exception."""
        self.stopped_until = 0.0
        """Until when a fault has stopped it, as SIGSTOP does."""
        self.when_ended: list[Callable[[], None]] = []
        self.sockets: dict[WorldSocket, None] = {}
        self.loops: list[WorldLoop] = []
        self.loop = self.new_loop("")
        self._program: asyncio.Task[Any] | None = None
        self.to_parent: Callable[[dict[str, Any]], None] = lambda line: None
        """Takes the lines of a host for its orchestrator."""
        self.from_parent: Callable[[dict[str, Any]], None] = lambda line: None
        """Takes the lines of an orchestrator for its host."""

    def __repr__(self) -> str:
        return f"<{self.label}, pid {self.pid}, {'runs' if self.alive else self.exit_code}>"

    def new_loop(self, name: str) -> WorldLoop:
        """Return one more loop, for what is a thread of its own in a real process."""
        schedule = self.simulation.schedule
        loop = WorldLoop(schedule, f"{self.label}{name and '/'}{name}", self._exits)
        loop.process = self  # type: ignore[attr-defined]
        self.loops.append(loop)
        schedule.loops.append(loop)
        return loop

    def run(self, body: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Run a coroutine function as the program of this process, which ends with it."""
        self.loop.call_soon(self._start, body)

    def _start(self, body: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._program = task = self.loop.create_task(body(), name=self.label)
        task.add_done_callback(self._ran)

    def _ran(self, task: Any) -> None:
        if task.cancelled():
            self.end(1)
        elif (failure := task.exception()) is not None:
            self.failure = failure
            self.end(1)
        else:
            self.end(0)

    def _exits(self, error: SystemExit) -> None:
        code = error.code
        self.end(code if isinstance(code, int) else 0 if code is None else 1)

    def end(self, code: int) -> None:
        """End this process at once: what runs in it is never resumed, and its sockets are cut."""
        if not self.alive:
            return
        self.alive, self.exit_code = False, code
        self.simulation.note(self.label, f"ends with {code}")
        for loop in self.loops:
            loop.die()
            self.simulation.schedule.loops.remove(loop)
        sockets, self.sockets = self.sockets, {}
        for socket in sockets:
            socket.cut()
        for told in self.when_ended:
            told()

    def stop(self, until: float) -> None:
        """Have it do nothing until then, as SIGSTOP and SIGCONT do."""
        self.stopped_until = max(self.stopped_until, until)
        for loop in self.loops:
            loop.free_at = max(loop.free_at, until)
