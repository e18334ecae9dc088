"""A thread that does work in the order in which it comes."""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

logger = logging.getLogger("local_models")


class WorkThread:
    """Runs what it is given, one after the other; an error of one is logged, and the next one follows."""

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Callable[[], None]) -> None:
        """Adds work; from any thread."""
        self._work.put(work)

    def end(self, seconds: float) -> bool:
        """Lets the thread end behind all work that it has, and waits for that; whether it has ended by then."""
        self._work.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _main(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception:  # it is of one piece: the others are kept all the same
                logger.exception("a prompt was not kept")
