"""Which members that are not back after the registry moved are only late, and which will not come."""

import time
from pathlib import Path

IDLE_WITHIN = 3.0  # seconds to come back for a member whose process waits for something else
# Longest for one that cannot: its process is stopped, or its loop is busy and has not the processor for itself.
HINDERED_WITHIN = {"T": 60.0, "t": 60.0, "R": 15.0, "D": 15.0}


class Lateness:
    """Members that are late since one moment, by the states of their processes.

    One that waits for something else has a short time, as it may have joined anew. One that was seen stopped, or busy,
    has that time from then on."""

    def __init__(self, since: float | None = None) -> None:
        self.since = time.monotonic() if since is None else since
        self._hindered_at: dict[int, float] = {}  # by process: when it was last seen stopped or busy

    def may_come_back(self, pid: int, now: float) -> bool:
        """Whether the member of a process is only late. To be asked every second or so: what happens between two looks
        is not seen."""
        state, waited = process_state(pid), now - self.since
        if state in ("", "Z") or waited >= max(HINDERED_WITHIN.values()):
            return False
        if waited < HINDERED_WITHIN.get(state, 0.0):
            self._hindered_at[pid] = now
        return now - self._hindered_at.get(pid, self.since) < IDLE_WITHIN


def is_alive(pid: int) -> bool:
    """Return whether a process of this machine runs, or is only stopped. One of another namespace is not seen."""
    return process_state(pid) not in ("", "Z")


def process_state(pid: int) -> str:
    """Return the state of a process as ps shows it; "" for one that is not there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""
