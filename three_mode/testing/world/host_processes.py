"""Hosts of a world: the body of a real host, in a process of the world in place of one of the machine."""

import asyncio
from collections.abc import Callable
from typing import Any

from three_mode.agents.host.lines import HostConfig
from three_mode.agents.host.process import serve
from three_mode.agents.host.start_note import RunningStart
from three_mode.agents.supervisor.host_process import how_it_ended
from three_mode.errors import PeerLost
from three_mode.testing.world.here import simulation

_KILLED = -9
_BEAT = 0.5  # seconds between two looks of the watchdog
_LINE = 0.0  # seconds until a line is there for the other process
_STARTS = (0.05, 0.2)  # seconds that a process needs until its code runs
_NOTICED = (100e-6, 5e-3)  # seconds from the end of a process until its orchestrator knows
_ORPHAN_GRACE = 0.7  # seconds for an orderly end once the orchestrator has died


class WorldHostProcess:
    """One started host process; `three_mode.agents.supervisor.host_process.HostProcess` says what each method does."""

    def __init__(
        self, config: HostConfig, on_line: Callable[[dict[str, Any]], None], on_exit: Callable[[str], None]
    ) -> None:
        self._world = world = simulation()
        self._loop = asyncio.get_running_loop()
        self._on_line, self._on_exit = on_line, on_exit
        self._ready: asyncio.Future[str] = self._loop.create_future()
        self._exited: asyncio.Future[None] = self._loop.create_future()
        self._last_error = self.exit_reason = ""
        self.ended_in: RunningStart | None = None
        self._note = MemoryNote()
        parent = world.running_process()
        self._process = process = world.start_process(config.label, parent.node)
        process.to_parent, process.from_parent = self._line, lambda line: None
        process.when_ended.append(self._ended)
        parent.when_ended.append(self._orphaned)
        world.schedule.after(world.chance.uniform(*_STARTS), self._begin, config)

    @property
    def pid(self) -> int:
        return self._process.pid

    def _begin(self, config: HostConfig) -> None:
        if self._process.alive:
            pid, note = self._process.pid, self._note
            self._process.run(lambda: serve(config, pid, note))  # type: ignore[arg-type]

    # lines ------------------------------------------------------------------------------------------------------------
    def _line(self, line: dict[str, Any]) -> None:
        """Send a line of the host to the orchestrator."""
        self._world.schedule.after(_LINE, self._loop.call_soon, self._came, line)

    def _came(self, line: dict[str, Any]) -> None:
        if self._exited.done():
            return
        if line.get("kind") == "ready" and not self._ready.done():
            self._ready.set_result(line["member"])
        self._on_line(line)

    def tell_to_stop(self) -> None:
        self._world.schedule.after(_LINE, self._tell, {"kind": "stop"})

    def _tell(self, line: dict[str, Any]) -> None:
        if self._process.alive:
            self._process.loop.call_soon(self._process.from_parent, line)

    def _orphaned(self) -> None:
        """Have it end, in order or not, once its orchestrator has died."""
        self._tell({"kind": "orphaned"})
        self._world.schedule.after(_ORPHAN_GRACE, self._process.end, 3)

    # ends -------------------------------------------------------------------------------------------------------------
    def _ended(self) -> None:
        when = self._world.chance.uniform(*_NOTICED)
        self._world.schedule.after(when, self._loop.call_soon, self._on_end)

    def _on_end(self) -> None:
        code, failure = self._process.exit_code, self._process.failure
        assert code is not None
        if failure is not None:
            self._last_error = f"{type(failure).__name__}: {failure}"
        self.exit_reason = reason = self._last_error or how_it_ended(code)
        self.ended_in = self._note.read()
        self._exited.set_result(None)
        if not self._ready.done():
            self._ready.set_exception(PeerLost(f"a host ended before it was ready: {reason}"))
            self._ready.exception()  # retrieved here: there may be nobody who waits
        self._on_exit(reason)

    def starting(self) -> RunningStart | None:
        return None if self._exited.done() else self._note.read()

    def kill(self) -> None:
        if not self._exited.done():
            self._process.end(_KILLED)

    async def ready(self, within: float) -> str:
        try:
            async with asyncio.timeout(within):
                return await asyncio.shield(self._ready)
        except TimeoutError:
            self.kill()
            raise PeerLost(f"a host (pid {self.pid}) was not ready within {within:g} s") from None

    async def ends(self, within: float) -> bool:
        await asyncio.wait([self._exited], timeout=within)
        return self._exited.done()

    async def gone(self, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                await asyncio.shield(self._exited)
        except TimeoutError:
            self.kill()
            await asyncio.shield(self._exited)


class MemoryNote:
    """Note of the start that runs now, in place of `StartNote`: a process of the world shares the memory of all."""

    def __init__(self) -> None:
        self._now: RunningStart | None = None

    def begin(self, agent: str, hook: str) -> None:
        self._now = RunningStart(agent, hook)

    def end(self) -> None:
        self._now = None

    def read(self) -> RunningStart | None:
        return self._now


class WorldWatchdog:
    """Watchdog of a host: it looks every half second, as the thread of a real one does, whether the loop turns."""

    def __init__(
        self,
        fd: int,
        loop: asyncio.AbstractEventLoop,
        blocked_after: float,
        on_line: Callable[[dict[str, Any]], None],
    ) -> None:
        self._process, self._blocked_after = simulation().running_process(), blocked_after
        self._process.from_parent = on_line
        self.lag = 0.0
        self._blocked = self._ending = False

    def start(self) -> None:
        self._process.simulation.schedule.after(_BEAT, self._look)

    def say(self, **line: Any) -> bool:
        self._process.to_parent(line)
        return True

    def stop(self) -> None:
        self._ending = True

    def _look(self) -> None:
        process = self._process
        schedule, loop = process.simulation.schedule, process.loop
        if self._ending or not process.alive:
            return
        if process.stopped_until <= schedule.now:
            held = schedule.now - loop.begun_at if loop.free_at > schedule.now else 0.0
            if held >= self._blocked_after:
                self._blocked = True
                self.say(kind="blocked", seconds=held, **{"agent": "", "handler": "", "where": "", **loop.blocking})
            else:
                if self._blocked:
                    self._blocked = False
                    self.say(kind="freed")
                self.say(kind="beat", lag=0.0)
        schedule.after(_BEAT, self._look)


class NoForwarder:
    """Log records of a host: in a world they are in the one process already."""

    def __init__(self, label: str) -> None:
        self._label = label

    def install(self, levels: Any) -> None:
        """Do nothing."""

    def connect(self, bus: Any) -> None:
        """Do nothing."""

    async def close_on_loop(self, within: float) -> None:
        """Do nothing."""


class NoFreezing:
    """Stands for `gc` in a host, which freezes what it has loaded: here that would be all of the program."""

    @staticmethod
    def freeze() -> None:
        """Do nothing."""


def no_guard(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    """Guard against no forks: nothing forks in a world."""
