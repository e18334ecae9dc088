"""The workers behind one port: all of them run, and one that dies is started again."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from three_mode.agents.supervisor.restart import Again, History, Restart
from three_mode.cli.workers.order import WorkerOrder
from three_mode.cli.workers.process import WorkerProcess
from three_mode.errors import ConfigurationError

# At once the first time, then after waits that double up to five seconds, as long as it takes.
RESTART = Restart("permanent", limit=1_000_000, within=60.0, wait=0.1, wait_at_most=5.0)


class Workers:
    """`count` workers with one order. `say` gets a line about each that dies. `stop_within`: seconds that they have to
    end in order; then they are killed."""

    def __init__(self, count: int, order: WorkerOrder, stop_within: float, say: Callable[[str], None]) -> None:
        self._count, self._order, self._stop_within, self._say = count, order, stop_within, say
        self._running: dict[int, WorkerProcess] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._started = False
        self._stopping = asyncio.Event()

    async def start(self) -> list[str]:
        """Starts them all and returns, once they listen, what the first of them has to say; ConfigurationError with the
        words of one that cannot."""
        for number in range(1, self._count + 1):
            self._running[number] = await WorkerProcess.start(self._order)
            self._keepers.append(asyncio.create_task(self._keep(number)))
        lines: list[str] = []
        for worker in self._running.values():
            told = await worker.ready
            if told is None:
                raise ConfigurationError(await worker.ended())
            lines = lines or told
        self._started = True
        return lines

    async def stop(self) -> None:
        """Tells all of them to end, and waits until they have."""
        self._stopping.set()
        for worker in self._running.values():
            worker.stop()
        try:
            _, late = await asyncio.wait(self._keepers, timeout=self._stop_within) if self._keepers else ((), ())
            if late:
                self._say(f"workers did not end within {self._stop_within:g} s, and are killed")
        finally:
            for worker in self._running.values():
                worker.kill()
        await asyncio.gather(*self._keepers)

    async def _keep(self, number: int) -> None:
        """Has one place filled, until the end."""
        history = History(RESTART)
        while True:
            worker = self._running[number]
            reason = await worker.ended()
            if not self._started and await worker.ready is None:
                return  # the error of `start`
            what = f"worker {number} (pid {worker.pid}) has ended: {reason}"
            while not self._stopping.is_set():
                await self._pause(what, history)
                try:
                    self._running[number] = await WorkerProcess.start(self._order)
                    break
                except OSError as error:  # no memory or no descriptors for a process: it counts as an end of it
                    what = f"worker {number} cannot be started: {error}"
            if self._stopping.is_set():
                self._running[number].stop()
                await self._running[number].ended()
                return

    async def _pause(self, what: str, history: History) -> None:
        """Says what happened, and waits before the next start."""
        verdict = history.ended(time.monotonic(), True, what)
        wait = verdict.wait if isinstance(verdict, Again) else RESTART.wait_at_most
        self._say(f"{what}; it is started again {f'in {wait:g} s' if wait else 'at once'}")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), wait)
