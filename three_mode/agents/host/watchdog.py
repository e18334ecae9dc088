"""Watchdog: a thread that watches the host's event loop and its orchestrator. It works while the loop is blocked.

Every half second it asks the loop for a sign of life. Without one it looks at the main thread's stack and reports the
agent that blocks the loop, with handler and line. When the orchestrator's end of the socket closes, the host ends: at
once if the loop is blocked, in order otherwise, within a second in any case.
"""

import asyncio
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from three_mode.agents.host.lines import Lines, write_line

_INTERVAL = 0.5
_ORPHAN_GRACE = 0.7  # seconds for an orderly end once the orchestrator has died


class Watchdog:
    """Watchdog of one host. `on_line` is called on the loop for each line of the orchestrator, and once it has died."""

    def __init__(
        self,
        fd: int,
        loop: asyncio.AbstractEventLoop,
        blocked_after: float,
        on_line: Callable[[dict[str, Any]], None],
    ) -> None:
        self._fd, self._loop, self._blocked_after, self._on_line = fd, loop, blocked_after, on_line
        self._main = threading.get_ident()
        self._asked_at = self._answered_at = time.monotonic()
        self.lag = 0.0
        """Seconds by which the loop was late at the last look."""
        self._blocked = False
        self._ending = False
        self.thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    def say(self, **line: Any) -> bool:
        """Send a line to the orchestrator; return False if it has closed the socket."""
        return write_line(self._fd, line)

    def stop(self) -> None:
        """Stop watching: the host ends in order, and the closing socket means nothing."""
        self._ending = True

    def _answer(self) -> None:
        """Give the sign of life. Runs on the loop."""
        self._answered_at = time.monotonic()
        self.lag = self._answered_at - self._asked_at

    def _watch(self) -> None:
        die_with_parent()
        poll, lines = select.poll(), Lines()
        poll.register(self._fd, select.POLLIN | select.POLLHUP)
        while not self._ending:
            for _, event in poll.poll(_INTERVAL * 1000):
                try:
                    data = os.read(self._fd, 65536) if event & select.POLLIN else b""
                except ConnectionError:  # the orchestrator died before it had read all lines
                    data = b""
                if not data:
                    self._end_orphaned()
                    return
                for line in lines.feed(data):
                    self._loop.call_soon_threadsafe(self._on_line, line)
            self._check_loop()

    def _check_loop(self) -> None:
        """Report whether the loop turns, and ask it for the next sign of life."""
        now = time.monotonic()
        if self._answered_at >= self._asked_at:
            if self._blocked:
                self._blocked = False
                self.say(kind="freed")
            self.say(kind="beat", lag=self.lag)
            self._asked_at = now
            try:
                self._loop.call_soon_threadsafe(self._answer)
            except RuntimeError:
                self._ending = True  # the loop is closed
        elif now - self._asked_at >= self._blocked_after:
            self._blocked = True
            self.say(kind="blocked", seconds=now - self._asked_at, **culprit(self._main))

    def _end_orphaned(self) -> None:
        """End the host of an orchestrator that has died: in order if the loop still turns, else at once."""
        if self._ending:
            return
        try:
            self._loop.call_soon_threadsafe(self._on_line, {"kind": "orphaned"})
        except RuntimeError:
            pass
        time.sleep(_ORPHAN_GRACE)
        os._exit(3)


def culprit(thread: int) -> dict[str, str]:
    """Return the agent and handler that a thread is running, and the line. Costs nothing until it is called."""
    from three_mode.agents.agent import Agent

    frame: FrameType | None = sys._current_frames().get(thread)
    found = {"agent": "", "handler": "", "where": _place(frame) if frame else ""}
    while frame is not None:  # the outermost frame that belongs to an agent is its handler
        owner = frame.f_locals.get("self")
        if isinstance(owner, Agent) and owner._three_mode_actor is not None:
            found["agent"], found["handler"] = owner._three_mode_actor.name, frame.f_code.co_name
        frame = frame.f_back
    return found


def _place(frame: FrameType) -> str:
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno} in {frame.f_code.co_name}"


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, even if the interpreter itself is stuck."""
    if sys.platform != "linux":
        return
    import ctypes
    import signal

    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
