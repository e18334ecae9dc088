"""Which members that are not back after the registry moved are only late, and which will not come."""

import time
from pathlib import Path

BUSY_WITHIN, STOPPED_WITHIN = 3.0, 60.0  # seconds for a member whose process runs, or is stopped, to come back


class Lateness:
    """Members that are late since one moment, by the states of their processes.

    A process that is stopped has a long time. One that runs has a short one, from the moment on at which it was last
    seen stopped: its event loop may be busy. It is not waited for longer, as it may have joined anew."""

    def __init__(self, since: float | None = None) -> None:
        self.since = time.monotonic() if since is None else since
        self._stopped_at: dict[int, float] = {}  # by process: when it was last seen stopped

    def may_come_back(self, pid: int, now: float) -> bool:
        """Whether the member of a process is only late. To be asked every second or so: a stop between two looks is
        not seen."""
        state = process_state(pid)
        if state in ("", "Z") or now - self.since >= STOPPED_WITHIN:
            return False
        if state in ("T", "t"):
            self._stopped_at[pid] = now
        return now - self._stopped_at.get(pid, self.since) < BUSY_WITHIN


def is_alive(pid: int) -> bool:
    """Return whether a process of this machine runs, or is only stopped. One of another namespace is not seen."""
    return process_state(pid) not in ("", "Z")


def process_state(pid: int) -> str:
    """Return the state of a process as ps shows it; "" for one that is not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
