"""Event loop of one process of a world: asyncio's rules on virtual time, without a selector or threads."""

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

from three_mode.testing.world.schedule import Schedule

_TIDY_FROM = 100  # cancelled timers from which the others are sorted anew
_CLOSES = 10  # times that a coroutine may wait again when it is to end
_THREAD = 200e-6  # seconds that work in another thread takes
_NEXT = 1e-6  # seconds between the ends of two pieces of such work


class WorldLoop(asyncio.BaseEventLoop):
    """Event loop of a process. `ended(code)` is called where the code of it exits."""

    _ready: "deque[asyncio.Handle]"
    _scheduled: list[Any]

    def __init__(self, schedule: Schedule, name: str, ended: Callable[[SystemExit], None]) -> None:
        self._schedule, self.name, self._exits = schedule, name, ended
        super().__init__()
        self._files: dict[int, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
        self.free_at = self.begun_at = 0.0
        self.ahead = 0.0
        """Seconds by which the running code is later than the schedule: it has slept."""
        self.blocking: dict[str, str] = {}
        """What has slept in this loop last: agent, handler, place."""
        self.dead = False
        self._threads_at = 0.0  # when the last work of threads is done
        self._kept: list[asyncio.Task[Any]] = []  # of a dead process: nothing of it may run, not even as garbage

    # turns ------------------------------------------------------------------------------------------------------------
    def due(self) -> float:
        """Return when this loop can go on; infinity where nothing is to be done."""
        if self.dead:
            return math.inf
        if self._ready:
            return 0.0
        timers = self._scheduled
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
            self._timer_cancelled_count -= 1
        return timers[0]._when if timers else math.inf

    def turn(self, now: float) -> None:
        """Run what is due."""
        timers, ready = self._scheduled, self._ready
        if self._timer_cancelled_count > _TIDY_FROM and 2 * self._timer_cancelled_count > len(timers):
            self._drop_cancelled()
            timers = self._scheduled
        while timers and timers[0]._when <= now:
            handle = heapq.heappop(timers)
            handle._scheduled = False
            if handle._cancelled:
                self._timer_cancelled_count -= 1
            else:
                ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            try:
                handle._run()
            except SystemExit as error:
                self._exits(error)
            if self.dead:
                return

    def _drop_cancelled(self) -> None:
        kept = []
        for handle in self._scheduled:
            if handle._cancelled:
                handle._scheduled = False
            else:
                kept.append(handle)
        heapq.heapify(kept)
        self._scheduled, self._timer_cancelled_count = kept, 0

    def die(self) -> None:
        """Run nothing any more, and keep all that waits as it is: a process that is killed says no goodbye."""
        if self.dead:
            return
        self.dead = True
        self._kept = list(asyncio.all_tasks(self))
        self.call_soon = self.call_soon_threadsafe = self._never  # type: ignore[method-assign, assignment]
        self.call_exception_handler = lambda context: None  # type: ignore[method-assign]

    def _never(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        handle.cancel()
        return handle

    def bury(self) -> None:
        """End all that still waits in this loop, once nothing of the world happens any more."""
        self.die()
        ended: set[asyncio.Task[Any]] = set()
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(self)  # tasks that are made at the end are tasks of this loop
        try:
            while tasks := [task for task in (*self._kept, *asyncio.all_tasks(self)) if task not in ended]:
                for task in tasks:  # what ends may make others, which are ended too
                    ended.add(task)
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    _close(task.get_coro())
        finally:
            asyncio._set_running_loop(outer)
        self._kept.clear()
        self.close()

    # what asyncio asks of a loop --------------------------------------------------------------------------------------
    def time(self) -> float:
        return self._schedule.time()

    def is_running(self) -> bool:
        return self._schedule.running is self

    def _check_running(self) -> None:
        """Allow `close` while another loop of the world runs."""

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *args: Any, context: Any = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]
        """Run what is meant for a thread, in the order in which it is handed in, in a later turn of this one."""
        future = self.create_future()

        def work() -> None:
            if future.done():
                return
            try:
                result = func(*args)
            except BaseException as error:  # noqa: BLE001  # it is for whoever awaits
                future.set_exception(error)
            else:
                future.set_result(result)

        self._threads_at = max(self._threads_at + _NEXT, self.time() + _THREAD)
        self.call_at(self._threads_at, work)
        return future

    def add_signal_handler(self, sig: int, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        """Take no signals: processes of a world get none but the ends that faults give them."""

    def remove_signal_handler(self, sig: int) -> bool:
        return False

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        """Call back when something has come at a simulated socket."""
        if not isinstance(fd, SimulatedFile):
            self._refuse("a file or socket of this machine")
        self._files[fd] = callback, args

    def remove_reader(self, fd: Any) -> bool:
        return self._files.pop(fd, None) is not None

    def add_writer(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]
        """Call back at once: simulated sockets take all that is written."""
        self.call_soon(callback, *args)

    def remove_writer(self, fd: Any) -> bool:
        return False

    def readable(self, fd: int) -> None:
        """Note that something has come at a simulated socket."""
        found = self._files.get(fd)
        if found is not None:
            self.call_soon(self._read, fd, *found)

    def _read(self, fd: int, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if fd in self._files:
            callback(*args)

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse("a network address")

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse("a network connection")

    async def create_server(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse("a network server")

    async def subprocess_exec(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse("a process of this machine")

    async def subprocess_shell(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse("a process of this machine")

    def _refuse(self, what: str) -> NoReturn:
        raise ConnectionError(
            f"{what} is not there in a world, which would not be the same each time:"
            " put a scripted model on its bus (world.model), or test this with real processes"
        )


def _close(work: Any) -> None:
    """End a coroutine, also one that waits again when it is to end."""
    for _ in range(_CLOSES):
        try:
            work.close()
        except BaseException:  # noqa: BLE001, S112  # whatever it does at its end, its world is over
            continue
        return


class SimulatedFile(int):
    """Number of a simulated socket, in place of a descriptor."""
