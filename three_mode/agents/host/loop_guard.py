"""Guards of a host's event loop against code of agents: nobody stops it, and a forked child does not run it on.

A handler may fork, as `multiprocessing` does: such a child runs a function and ends. A child that comes back from the
handler would be a second copy of the host, with its agents, its rings and its signal handlers. So it ends there.
"""

import asyncio
import os
import signal
import sys
from types import FrameType
from typing import Any

from three_mode.errors import ConfigurationError

# Modules whose frames lie below the code of an agent.
_BELOW = (
    "three_mode",
    "transports",
    "asyncio",
    "uvloop",
    "threading",
    "concurrent",
    "contextvars",
    "importlib",
    "runpy",
)
_CAME_BACK = b"""three-mode: the child of a fork in an agent came back to its host, and ends: \
use `subprocess`, or `multiprocessing` with the spawn method
"""
_ENDING = (signal.SIGTERM, signal.SIGINT)
_STATUS = 1  # exit status of a child that came back


def refuse_to_stop(loop: asyncio.AbstractEventLoop, host: "asyncio.Task[Any]") -> None:
    """Make `loop.stop()` an error while the task of the host runs."""
    stop = loop.stop

    def refuse() -> None:
        if host.done():
            stop()
            return
        raise ConfigurationError(
            "loop.stop() would end a host with all its agents", hint="`self.stop()` ends this agent alone"
        )

    loop.stop = refuse  # type: ignore[method-assign]


def end_forked_children(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    """End a forked child where it comes back from the code of an agent. `fd`: the socket to the orchestrator."""

    masks: list[set[int]] = []

    def before() -> None:
        # A signal that came between the fork and the lines of `in_child` would run the handlers of the parent.
        masks.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)))

    def in_parent() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.pop())

    def in_child() -> None:
        signal.set_wakeup_fd(-1)  # it is the parent's: SIGTERM to the child would reach the parent
        for ending in _ENDING:
            signal.signal(ending, signal.SIG_DFL)
        in_parent()
        try:
            os.close(fd)
        except OSError:
            pass  # closed already: the child of a child
        loop.call_soon(_end)
        _end_at_return_of(_outermost_of_agent(sys._getframe(1)))

    os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)


def _end(*_: Any) -> None:
    os.write(2, _CAME_BACK)
    os._exit(_STATUS)


def _outermost_of_agent(frame: FrameType | None) -> FrameType | None:
    """Return the outermost frame that is code of an agent; None if `multiprocessing` ends the child itself."""
    stack: list[FrameType] = []
    while frame is not None:
        stack.append(frame)
        frame = frame.f_back
    if any(_module(frame).startswith("multiprocessing.") for frame in stack):
        return None
    stack.pop()  # the host's own main module, or the beginning of a thread
    while stack:
        frame = stack.pop()
        if _module(frame).partition(".")[0] not in _BELOW:
            return frame
    return None


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _end_at_return_of(frame: FrameType | None) -> None:
    """End this process when a frame returns, or waits for something. Until then its code runs more slowly."""
    if frame is None:
        return

    def ends(frame: FrameType, event: str, value: Any) -> Any:
        if event == "return":
            _end()
        return ends

    frame.f_trace, frame.f_trace_lines = ends, False
    sys.settrace(lambda frame, event, value: None)
