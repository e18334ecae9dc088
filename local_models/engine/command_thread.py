"""Command thread: the thread of an engine. It takes turns, and runs the commands of other threads between them.

Commands run in order, so that a cancel takes effect within the time of a turn.
"""

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

from local_models.errors import EngineFailed, LocalModelError, ModelClosed

logger = logging.getLogger("local_models")
EXIT_SECONDS = 10.0  # longest wait for a turn in progress when the program ends
_running: "weakref.WeakSet[CommandThread]" = weakref.WeakSet()


@atexit.register
def _end_at_exit() -> None:
    """Ends the engines before the interpreter does: a thread that is stopped inside of C++ code ends the process."""
    threads = list(_running)
    for thread in threads:
        thread.close()
    until = time.monotonic() + EXIT_SECONDS
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0))


class CommandThread:
    """Runs `turn` again and again until it is closed, or until a turn or a command raises; then `end` with the reason.

    `command`, `close`, `require_open` and `join` may be called from any thread; what runs commands, on this one.
    """

    def __init__(self, name: str, turn: Callable[[], None], end: Callable[[LocalModelError], None]) -> None:
        self._turn, self._end = turn, end
        self.commands: SimpleQueue[Callable[[], None]] = SimpleQueue()
        """Commands that wait; others may look whether there are any."""
        self._closing = self._has_ended = False
        self._failure: LocalModelError | None = None
        self._lock = threading.Lock()
        self._on_end: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        _running.add(self)
        self._thread.start()

    # --- from any thread ---

    def command(self, run: Callable[[], None]) -> None:
        """Runs `run` on the thread between two turns; raises the error of `require_open`."""
        with self._lock:
            self.require_open()
            self.commands.put(run)

    def close(self, on_end: Callable[[], None] | None = None) -> None:
        """Ends the thread with `ModelClosed`; `on_end` runs after that."""
        with self._lock:
            first = not self._closing
            has_ended = self._has_ended
            if on_end is not None and not has_ended:
                self._on_end.append(on_end)
            self._closing = True
        if first:
            self.commands.put(lambda: None)
        if on_end is not None and has_ended:
            on_end()

    @property
    def closed(self) -> bool:
        """Whether the thread has ended or is about to."""
        return self._closing

    @property
    def ended(self) -> bool:
        """Whether `end` has run, so that `close` runs its `on_end` at once."""
        return self._has_ended

    @property
    def ident(self) -> int | None:
        """Identifier of the thread."""
        return self._thread.ident

    def require_open(self) -> None:
        """Raises `ModelClosed`, or the failure that ended the thread, if it is closed."""
        if self._closing:
            raise self._failure or ModelClosed("the model is closed", hint="load it again")

    def join(self, seconds: float | None = None) -> None:
        """Waits for the thread to end."""
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(seconds)

    # --- on the thread ---

    def run_commands(self) -> None:
        """Runs all commands that wait."""
        while not self.commands.empty():
            self.commands.get()()

    def await_command(self, seconds: float | None) -> None:
        """Waits for a command and runs it; None: for as long as it takes."""
        with suppress(Empty):
            self.commands.get(timeout=None if seconds is None else max(seconds, 0))()

    def _main(self) -> None:
        reason: LocalModelError = ModelClosed("the model was closed under this call")
        try:
            while not self._closing:
                self._turn()
        except LocalModelError as error:
            reason = self._failure = error
        except Exception as error:  # every caller gets this error
            logger.exception("the engine of a local model failed")
            reason = self._failure = EngineFailed(f"the engine failed: {error!r}")
        finally:
            self._shut_down(reason)

    def _shut_down(self, reason: LocalModelError) -> None:
        with self._lock:
            self._closing = True
        while not self.commands.empty():
            try:
                self.commands.get()()
            except Exception:  # the command has reported its error to its caller
                logger.exception("a command of a closing model failed")
        self._end(reason)
        with self._lock:
            self._has_ended = True
        for run in self._on_end:
            run()
