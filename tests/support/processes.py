"""Processes of the tests: whether one still lives, and groups of them that end with the test run, however it ends."""

import contextlib
import os
import signal
import subprocess
import sys
from types import TracebackType
from typing import Self

import psutil

# Waits for the end of the first process given, and then kills the group of the second; ends with the second.
_WATCHER = """
import contextlib, os, select, signal, sys
ours, group = map(int, sys.argv[1:])
with contextlib.suppress(ProcessLookupError):
    first, ended = os.pidfd_open(group), select.poll()
    ended.register(first, select.POLLIN)
    try:
        ended.register(os.pidfd_open(ours), select.POLLIN)
        over = {found for found, _ in ended.poll()}
    except ProcessLookupError:
        over = set()
    if over != {first}:
        os.killpg(group, signal.SIGKILL)
"""


def lives(process: psutil.Process | int) -> bool:
    """Whether `process` is there and no zombie: all that it held is gone once it is one."""
    try:
        asked = psutil.Process(process) if isinstance(process, int) else process
        return asked.is_running() and bool(asked.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class KilledGroup:
    """Kills a process group at the end of the block, and also where this process is killed before: a process that
    watches both does it then."""

    def __init__(self, group: int) -> None:
        self._group = group

    def __enter__(self) -> Self:
        words = [sys.executable, "-I", "-S", "-c", _WATCHER, str(os.getpid()), str(self._group)]
        self._watcher = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._group, signal.SIGKILL)
        self._watcher.wait(30)
