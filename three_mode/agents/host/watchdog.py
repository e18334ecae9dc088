"""A thread that watches the host's loop and its parent. It works while the loop does not.

Every half second it asks the loop for a sign of life. When none comes it looks at the main thread's stack for an agent and says
who blocks the loop, in which handler, at which line. When the orchestrator's end of the socket closes, the host ends: at once if
the loop is blocked, in order otherwise, within a second in any case.
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
_LAST_WORDS = 0.7  # seconds for an orderly end once the orchestrator has died


class Watchdog:
    def __init__(
        self,
        fd: int,
        loop: asyncio.AbstractEventLoop,
        blocked_after: float,
        on_line: Callable[[dict[str, Any]], None],
    ) -> None:
        self._fd, self._loop, self._blocked_after, self._on_line = fd, loop, blocked_after, on_line
        self._main = threading.get_ident()
        self._asked = self._heard = time.monotonic()
        self.lag = 0.0
        self._blocked = False
        self._ending = False
        self.thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def say(self, **line: Any) -> bool:
        return write_line(self._fd, line)

    def stop(self) -> None:
        """The host ends in order: the closing socket is no news."""
        self._ending = True

    def _alive(self) -> None:
        """Runs on the loop."""
        self._heard = time.monotonic()
        self.lag = self._heard - self._asked

    def _watch(self) -> None:
        die_with_parent()
        poll, lines = select.poll(), Lines()
        poll.register(self._fd, select.POLLIN | select.POLLHUP)
        while not self._ending:
            for _, event in poll.poll(_INTERVAL * 1000):
                try:
                    data = os.read(self._fd, 65536) if event & select.POLLIN else b""
                except ConnectionError:  # it died before it had read all that was said to it
                    data = b""
                if not data:
                    self._orphaned()
                    return
                for line in lines.feed(data):
                    self._loop.call_soon_threadsafe(self._on_line, line)
            self._look()

    def _look(self) -> None:
        now = time.monotonic()
        if self._heard >= self._asked:
            if self._blocked:
                self._blocked = False
                self.say(kind="freed")
            self.say(kind="beat", lag=self.lag)
            self._asked = now
            try:
                self._loop.call_soon_threadsafe(self._alive)
            except RuntimeError:
                self._ending = True  # the loop is closed
        elif now - self._asked >= self._blocked_after:
            self._blocked = True
            self.say(kind="blocked", seconds=now - self._asked, **culprit(self._main))

    def _orphaned(self) -> None:
        """The orchestrator has died. An orderly end if the loop can still do that, else at once."""
        if self._ending:
            return
        try:
            self._loop.call_soon_threadsafe(self._on_line, {"kind": "orphaned"})
        except RuntimeError:
            pass
        time.sleep(_LAST_WORDS)
        os._exit(3)


def culprit(thread: int) -> dict[str, str]:
    """Which agent a thread is working for, in which handler, and where it is. Costs nothing until it is asked."""
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
    """A backstop in the kernel for when the interpreter itself is stuck: it kills this process when its parent dies."""
    if sys.platform != "linux":
        return
    import ctypes
    import signal

    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
