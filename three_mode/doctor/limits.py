"""Checks of limits: open files, shared memory and cores, for a bus of hundreds of agents."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from three_mode.doctor.check import Check, Status

AREA = "limits"
# A process on the bus holds about ten descriptors and a few for each peer: enough for 512 processes.
WANTED_FILES = 4096
WANTED_SHARED_MEMORY = 64 << 20


def checks() -> Iterator[Check]:
    """Checks of this area."""
    yield open_files(*resource.getrlimit(resource.RLIMIT_NOFILE))
    yield shared_memory(Path("/dev/shm"))  # noqa: S108  (looked at, not written to)
    yield cores(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def open_files(soft: int, hard: int) -> Check:
    """Checks the limits of open files."""
    unlimited = resource.RLIM_INFINITY
    found = "unlimited" if soft == unlimited else str(soft)
    if soft != unlimited and soft < WANTED_FILES:
        enough = hard == unlimited or hard >= WANTED_FILES
        advice = (
            f"ulimit -n {WANTED_FILES}" if enough else f"raise the hard limit ({hard}) in limits.conf or the container"
        )
        return Check(AREA, "open files", Status.LIMITED, f"{found}: too few for hundreds of processes", advice)
    return Check(AREA, "open files", Status.OK, found)


def shared_memory(place: Path) -> Check:
    """Reports the size of /dev/shm. Rings are memfds and do not need it; other programs may."""
    try:
        status = os.statvfs(place)
    except OSError as error:
        return Check(AREA, str(place), Status.OK, f"not there ({error.strerror}); rings do not need it")
    size = status.f_frsize * status.f_blocks
    found = f"{size / 2**20:,.0f} MiB"
    if size < WANTED_SHARED_MEMORY:
        return Check(AREA, str(place), Status.OK, f"{found}: small, but rings are memfds and do not need it")
    return Check(AREA, str(place), Status.OK, found)


def cores(count: int) -> Check:
    """Checks the number of cores."""
    if count < 2:
        return Check(
            AREA,
            "cores",
            Status.LIMITED,
            "1",
            "agents and a local model share it: give the process two or more",
        )
    return Check(AREA, "cores", Status.OK, str(count))
